# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers questions about what the cameras saw: window and question in, text out.

A question's frames are chosen when it is asked, so that it is about what was seen then, however
long it waits. Then it waits in the queue, its frames are decoded, and the engine is asked; as many
questions run side by side as the engine takes. Whatever ends it early (cancel, its deadline, close)
ends it at once: the answer is given back with what there is of it, and the engine is told to stop.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import Engine
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    ErrorCode,
    NotActive,
    OutOfMemory,
    VilaError,
)
from vila_ros.perception.answering import answer
from vila_ros.perception.buffer import FrameBuffer
from vila_ros.perception.decoding import Decoder
from vila_ros.perception.inquiry import Inquiry, Messenger, Task
from vila_ros.perception.questions import CheckedQuestion, PerceiverDefaults, check_question
from vila_ros.perception.scheduler import QuestionQueue
from vila_ros.perception.selection import choose, gather
from vila_ros.perception.types import Answer, DropReason, Frame, Progress, Question, Sampling

_log = logging.getLogger("vila_ros.perception")
_CLOSING_SECONDS = 5.0
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class PerceiverStatistics:
    """How many questions there are and were.

    waiting, waiting_background, running: now; background questions that run are among running.
    answered, failed: since the start, failed by code. decoded_bytes: of images kept for reuse.
    """

    waiting: int
    waiting_background: int
    running: int
    queue_size: int
    answered: int
    failed: Mapping[ErrorCode, int]
    decoded_bytes: int


class Ticket:
    """A question that was submitted."""

    def __init__(self, request_id: str, cancel: Callable[[], None]) -> None:
        self.request_id = request_id
        self._cancel = cancel

    def cancel(self) -> None:
        """End the question at once with Cancelled; nothing happens where it has ended."""
        self._cancel()


class Perceiver:
    """Puts questions to an engine, together with the frames they are about. Thread-safe.

    buffers: the cameras by name. The engine is not loaded and not closed here; while it is down,
    questions end with its error.
    """

    def __init__(
        self,
        buffers: Mapping[str, FrameBuffer],
        engine: Engine,
        defaults: PerceiverDefaults | None = None,
    ) -> None:
        self._buffers = buffers
        self._engine = engine
        self._defaults = defaults or PerceiverDefaults()
        self._decoder = Decoder(
            self._defaults.decoded_bytes, self._defaults.max_pixels, self._discard
        )
        self._messenger = Messenger()
        self._changed = threading.Condition(threading.RLock())
        self._queue: QuestionQueue[Inquiry] = QuestionQueue(self._defaults.queue_size)
        self._running: list[Inquiry] = []
        self._answered = 0
        self._failed: dict[ErrorCode, int] = {}
        self._closed = False
        self._clock = threading.Thread(target=self._watch, name="vila-deadlines", daemon=True)
        self._clock.start()

    def submit(
        self,
        question: Question,
        *,
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Answer], None],
        background: bool = False,
    ) -> Ticket:
        """Ask; never waits, and never raises for what the question says.

        on_progress is told how far it is (the newest state, not every one), then on_done its end,
        once, with an Answer that may have an error. Both are called in one thread for all
        questions, so they should be quick.
        background: runs only while no other question waits or runs, and ends with Cancelled as soon
        as one is asked.
        """
        inquiry = Inquiry(
            f"question-{os.getpid()}-{next(_numbers)}", question, on_progress, on_done, background
        )
        try:
            self._accept(inquiry)
        except VilaError as error:
            self._end(inquiry, error)
        except Exception as error:
            self._end(inquiry, _defect(error))
        return Ticket(
            inquiry.request_id,
            lambda: self._stop(inquiry, Cancelled(f"Cancelled {inquiry.when}.")),
        )

    def ask(
        self, question: Question, *, on_progress: Callable[[Progress], None] | None = None
    ) -> Answer:
        """Ask and wait for the answer. Not to be called in a callback of a question."""
        answers: list[Answer] = []
        done = threading.Event()

        def keep(answer: Answer) -> None:
            answers.append(answer)
            done.set()

        ticket = self.submit(question, on_progress=on_progress, on_done=keep)
        try:
            done.wait()
        except BaseException:
            ticket.cancel()
            raise
        return answers[0]

    def statistics(self) -> PerceiverStatistics:
        """How many questions there are and were, at one moment."""
        with self._changed:
            return PerceiverStatistics(
                waiting=self._queue.count(),
                waiting_background=self._queue.count(background=True),
                running=len(self._running),
                queue_size=self._queue.limit,
                answered=self._answered,
                failed=MappingProxyType(dict(self._failed)),
                decoded_bytes=self._decoder.held_bytes,
            )

    def set_defaults(self, defaults: PerceiverDefaults) -> None:
        """Let other defaults hold for the questions asked from now on."""
        with self._changed:
            self._defaults = defaults
            self._queue.set_limit(defaults.queue_size)
        self._decoder.set_limits(defaults.decoded_bytes, defaults.max_pixels)

    def close(self) -> None:
        """End every question with Cancelled, tell who asked, and end all threads."""
        with self._changed:
            self._closed = True
            inquiries = [*self._queue.items(), *self._running]
            self._changed.notify_all()
        for inquiry in inquiries:
            self._stop(inquiry, Cancelled("Questions are not answered any more."))
        with self._changed:
            self._changed.wait_for(lambda: not self._running, _CLOSING_SECONDS)
        self._decoder.close()
        self._messenger.close(_CLOSING_SECONDS)
        if threading.current_thread() is not self._clock:
            self._clock.join(_CLOSING_SECONDS)

    def _accept(self, inquiry: Inquiry) -> None:
        """Choose the question's frames and let it wait, or raise why not."""
        defaults = self._defaults
        checked = check_question(
            inquiry.question, defaults, self._buffers.keys(), self._engine.capabilities
        )
        inquiry.deadline = inquiry.accepted + checked.deadline
        selected = self._select(inquiry, checked, round(defaults.tolerance * 1e9))
        side_by_side = self._side_by_side()
        with self._changed:
            if self._closed:
                raise NotActive("Questions are not answered any more; activate the node again.")
            self._queue.push(
                inquiry,
                priority=inquiry.question.priority,
                deadline=inquiry.deadline,
                background=inquiry.background,
            )
            inquiry.task = Task(checked, selected())
            preempted = [] if inquiry.background else [i for i in self._running if i.background]
            self._dispatch(side_by_side)
            self._changed.notify_all()
        self._messenger.tell(inquiry)
        for other in preempted:
            self._stop(other, Cancelled("Preempted: a background question yields to any other."))

    def _select(
        self, inquiry: Inquiry, checked: CheckedQuestion, tolerance_ns: int
    ) -> Callable[[], Future[list[Frame]]]:
        """Find the question's frames now; what is returned gives the choice among them.

        Keyframes have to be looked at, which is left to a decoding thread; until it has chosen, the
        question holds all that are compared.
        """
        if not checked.cameras:
            return lambda: _chosen([])
        window = gather(checked, self._buffers, tolerance_ns)

        def thumbnail(frame: Frame) -> NDArray[np.uint8]:
            if inquiry.ended:
                raise Cancelled("The question has ended.")
            return self._decoder.thumbnail(frame)

        if checked.sampling is Sampling.KEYFRAMES:
            return lambda: self._decoder.submit(choose, checked, window, tolerance_ns, thumbnail)
        frames = choose(checked, window, tolerance_ns, thumbnail)
        return lambda: _chosen(frames)

    def _side_by_side(self) -> int:
        """Questions that the engine takes at once. Asked without the lock, for it has its own."""
        capabilities = self._engine.capabilities
        return 1 if capabilities is None else max(capabilities.max_concurrency, 1)

    def _dispatch(self, side_by_side: int) -> None:
        """Start what may start. The lock is held."""
        if self._closed:
            return
        # A background question that was preempted still runs until the engine has stopped; the one
        # that preempted it does not wait for that.
        while sum(not each.background for each in self._running) < side_by_side:
            inquiry = self._queue.pop()
            if inquiry is None:
                break
            self._start(inquiry)
        if not self._running:
            inquiry = self._queue.pop(background=True)
            if inquiry is not None:
                self._start(inquiry)

    def _start(self, inquiry: Inquiry) -> None:
        self._running.append(inquiry)
        try:
            threading.Thread(
                target=self._run, args=(inquiry,), name="vila-question", daemon=True
            ).start()
        except RuntimeError as error:
            self._running.remove(inquiry)
            self._end(inquiry, OutOfMemory(f"No thread for the question: {error}."))

    def _run(self, inquiry: Inquiry) -> None:
        try:
            json = answer(inquiry, self._engine, self._decoder, self._messenger.tell)
            self._end(inquiry, json=json)
        except DeadlineExceeded:
            # The engine looked at its clock before the thread of deadlines did.
            self._end(inquiry, _late(inquiry))
        except VilaError as error:
            self._end(inquiry, error)
        except Exception as error:
            # Once it has ended, the thread may fall over what close() has ended.
            if not inquiry.ended:
                self._end(inquiry, _defect(error))
        finally:
            side_by_side = self._side_by_side()
            with self._changed:
                self._running.remove(inquiry)
                self._changed.notify_all()
                self._dispatch(side_by_side)

    def _end(self, inquiry: Inquiry, error: VilaError | None = None, json: str = "") -> bool:
        """Give the answer, unless there is one already; whether it was given now."""
        answer = inquiry.end(error, json)
        if answer is None:
            return False
        with self._changed:
            if error is None:
                self._answered += 1
            else:
                code = ErrorCode(error.code)
                self._failed[code] = self._failed.get(code, 0) + 1
        self._messenger.tell(inquiry)
        return True

    def _stop(self, inquiry: Inquiry, error: VilaError) -> None:
        """End a question that waits or runs, and what the engine does for it."""
        with self._changed:
            self._queue.remove(inquiry)
            running = inquiry in self._running
        if self._end(inquiry, error) and running:
            try:
                self._engine.cancel(inquiry.request_id)
            except VilaError as failure:
                _log.warning("The engine did not cancel a question: %s", failure.message)

    def _watch(self) -> None:
        """End questions at their deadlines, wherever they are."""
        while True:
            with self._changed:
                if self._closed:
                    return
                open_ones = [i for i in (*self._queue.items(), *self._running) if not i.ended]
                now = time.monotonic()
                late = [inquiry for inquiry in open_ones if inquiry.deadline <= now]
                if not late:
                    next_one = min((inquiry.deadline for inquiry in open_ones), default=None)
                    self._changed.wait(None if next_one is None else next_one - now)
            for inquiry in late:
                self._stop(inquiry, _late(inquiry))

    def _discard(self, frame: Frame, reason: DropReason) -> None:
        buffer = self._buffers.get(frame.camera)
        if buffer is not None:
            buffer.discard(frame, reason)


def _late(inquiry: Inquiry) -> DeadlineExceeded:
    allowed = inquiry.deadline - inquiry.accepted
    return DeadlineExceeded(
        f"The deadline of {allowed:.3g} s passed {inquiry.when}; give it more time, fewer frames "
        "or fewer tokens."
    )


def _chosen(frames: list[Frame]) -> Future[list[Frame]]:
    future: Future[list[Frame]] = Future()
    future.set_result(frames)
    return future


def _defect(error: Exception) -> VilaError:
    _log.exception("A question failed by a defect of this package; please report it.")
    return VilaError(f"{type(error).__name__}: {error}. This is a defect; please report it.")
