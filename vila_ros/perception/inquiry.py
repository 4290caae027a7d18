# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question on its way to its answer, and the thread that tells who asked."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from vila_ros.engine.interface import Capabilities, GenerationStats, Stage, TextChunk
from vila_ros.errors import VilaError
from vila_ros.perception.questions import CheckedQuestion
from vila_ros.perception.types import Answer, Frame, FrameReference, Progress, Question

_log = logging.getLogger("vila_ros.perception")
Argument = TypeVar("Argument")

_STAGES = {
    Stage.QUEUED: "while it waited",
    Stage.DECODING: "while its frames were decoded",
    Stage.ENCODING: "while its images were encoded",
    Stage.GENERATING: "while its answer was written",
}


@dataclass(frozen=True, slots=True)
class Task:
    """What there is to do for a question that was accepted."""

    checked: CheckedQuestion
    frames: Future[list[Frame]]


class Inquiry:
    """What is known of one question's answer so far. Thread-safe; the first end counts."""

    def __init__(
        self,
        request_id: str,
        question: Question,
        on_progress: Callable[[Progress], None] | None,
        on_done: Callable[[Answer], None],
        background: bool,
    ) -> None:
        self.request_id = request_id
        self.question = question
        self.on_progress = on_progress
        self.on_done = on_done
        self.background = background
        self.accepted = time.monotonic()
        self.deadline = math.inf
        self.task: Task | None = None
        self._lock = threading.Lock()
        self._progress = Progress(Stage.QUEUED)
        self._progress_is_new = True
        self._frames: tuple[FrameReference, ...] = ()
        self._model = self._runtime = ""
        self._queue_time = self._decode_time = self._first_token = 0.0
        self._stats = GenerationStats()
        self._choice_probabilities: tuple[float, ...] = ()
        self._answer: Answer | None = None
        self._answer_is_told = False

    @property
    def ended(self) -> bool:
        """Whether it has an answer, or an error."""
        return self._answer is not None

    @property
    def text(self) -> str:
        """What was generated so far."""
        return self._progress.text

    @property
    def when(self) -> str:
        """The stage it is in, for messages."""
        return _STAGES[self._progress.stage]

    def enter(self, stage: Stage) -> None:
        """Note the stage it has come to."""
        with self._lock:
            self._advance(Progress(stage, self._progress.text, self._progress.tokens))

    def show(self, frames: list[Frame], decode_time: float) -> None:
        """Note what the model is shown and what decoding that took, in seconds."""
        with self._lock:
            self._frames = tuple(FrameReference(f.camera, f.stamp_ns, f.frame_id) for f in frames)
            self._decode_time = decode_time

    def hand_over(self, capabilities: Capabilities | None) -> None:
        """Note that the engine is given the question now."""
        with self._lock:
            self._queue_time = self._elapsed()
            if capabilities is not None:
                self._model, self._runtime = capabilities.model, capabilities.runtime

    def add(self, chunk: TextChunk) -> None:
        """Note what came from the engine."""
        with self._lock:
            if chunk.tokens and not self._first_token:
                self._first_token = self._elapsed()
            if chunk.stats is not None:
                self._stats = chunk.stats
                self._queue_time += chunk.stats.queue_time
            self._choice_probabilities = chunk.choice_probabilities or self._choice_probabilities
            last = self._progress
            # Stages only go forward: one that is handed over and waits inside the engine is not
            # back where it began. A chunk that is not generating brings no text.
            stage = max(chunk.stage, last.stage)
            self._advance(Progress(stage, last.text + chunk.text, max(chunk.tokens, last.tokens)))

    def end(self, error: VilaError | None = None, json: str = "") -> Answer | None:
        """Make the answer of what is known; None when it has one already."""
        with self._lock:
            if self._answer is not None:
                return None
            self._answer = Answer(
                text=self._progress.text,
                json=json,
                error=error,
                choice_probabilities=self._choice_probabilities,
                frames=self._frames,
                model=self._model,
                runtime=self._runtime,
                queue_time=self._queue_time,
                decode_time=self._decode_time,
                time_to_first_token=self._first_token,
                total_time=self._elapsed(),
                stats=self._stats,
            )
            self.task = None  # lets go of the frames
            return self._answer

    def news(self) -> tuple[Progress | None, Answer | None]:
        """What has not been told yet: the last progress, the answer. Each is given out once."""
        with self._lock:
            progress = self._progress if self._progress_is_new else None
            self._progress_is_new = False
            # Whoever tells of a stage may do so when the question has ended meanwhile; the answer
            # is out with that, and nothing is left for the one that tells of the end.
            answer = None if self._answer_is_told else self._answer
            self._answer_is_told = self._answer is not None
            return progress, answer

    def _advance(self, progress: Progress) -> None:
        if self._answer is None and progress != self._progress:
            self._progress = progress
            self._progress_is_new = True

    def _elapsed(self) -> float:
        return time.monotonic() - self.accepted


class Messenger:
    """Calls back those who asked, one call at a time, in a thread of its own.

    Whoever is slow gets the newest progress next, not every one. Nothing is told after the answer.
    An error raised by a callback is logged.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Inquiry] = deque()
        self._closed = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="vila-messenger", daemon=True)
        self._thread.start()

    def tell(self, inquiry: Inquiry) -> None:
        """Let there be news of an inquiry; after close it is told in the caller's thread."""
        with self._changed:
            ended = self._ended
            if not ended and inquiry not in self._waiting:
                self._waiting.append(inquiry)
                self._changed.notify()
        if ended:
            _tell_news(inquiry)

    def close(self, timeout: float) -> None:
        """Tell what there is to tell, for at most `timeout` seconds, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        self._ended = True
                        return
                    self._changed.wait()
                inquiry = self._waiting.popleft()
            _tell_news(inquiry)


def _tell_news(inquiry: Inquiry) -> None:
    progress, answer = inquiry.news()
    if progress is not None and inquiry.on_progress is not None:
        _call(inquiry.on_progress, progress)
    if answer is not None:
        _call(inquiry.on_done, answer)


def _call(callback: Callable[[Argument], None], argument: Argument) -> None:
    try:
        callback(argument)
    except Exception:
        _log.exception("A callback of a question raised an error; it is ignored.")
