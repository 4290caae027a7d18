# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording passes through the robot's own frame buffers and Perceiver, moment by moment.

Time stands still while a question is answered, however slow the engine is: which frames a question
sees depends on the recording alone. So the same recording, questions and model give the same
answers, on a workstation faster than the robot drove, or on a laptop that takes all night.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.bags.types import RecordedMessage, Recording
from vila_ros.errors import InvalidRequest
from vila_ros.perception.buffer import BufferLimits, FrameBuffer
from vila_ros.perception.perceiver import Perceiver, Ticket
from vila_ros.perception.types import Answer, DropReason, Frame, Question

TRANSPORT_SECONDS = 2.0
"""By how much a frame's stamp may be older than the time at which it was recorded."""


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A question at a moment of the recording.

    name: for whoever reads the answer. stamp_ns: the recording's time, at which everything recorded
    until then has arrived. only_new: not asked unless a frame has come since the asking of the same
    name before. silent: not asked at all; what was seen counts for the next one's only_new.
    """

    name: str
    stamp_ns: int
    question: Question
    only_new: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """An asking and its answer. newest: the newest frame of its cameras, None without one.
    answer: None where there was nothing new to ask about."""

    asking: Asking
    newest: Frame | None
    answer: Answer | None


class Replay:
    """The robot's buffers, filled from a recording up to any later moment.

    cameras: those that are read. seconds: how far back questions look; frames older than that are
    not kept, and stretches that no question looks at are not read.
    """

    def __init__(
        self, recording: Recording, cameras: Sequence[RecordedCamera], seconds: float
    ) -> None:
        if not cameras:
            raise InvalidRequest(f"No camera of '{recording.path}' is chosen.")
        self.recording = recording
        limits = BufferLimits(seconds=seconds, frames=1_000_000)
        self.buffers: Mapping[str, FrameBuffer] = {
            camera.name: FrameBuffer(camera.name, camera.kind, limits) for camera in cameras
        }
        self._names = {camera.topic: camera.name for camera in cameras}
        self._lead_ns = round((seconds + TRANSPORT_SECONDS) * 1e9)
        self._messages: Iterator[RecordedMessage] = iter(())
        self._waiting: RecordedMessage | None = None
        self._reached_ns: int | None = None

    def advance(self, until_ns: int) -> None:
        """Let everything that was recorded until a moment arrive; moments never go back.

        Raises InvalidRequest for an earlier moment, InvalidRecording.
        """
        if self._reached_ns is not None and until_ns < self._reached_ns:
            raise InvalidRequest(f"A replay at {self._reached_ns} cannot go back to {until_ns}.")
        if self._reached_ns is None or until_ns - self._reached_ns > self._lead_ns:
            self._seek(until_ns - self._lead_ns)
        self._reached_ns = until_ns
        while self._waiting is not None and self._waiting.stamp_ns <= until_ns:
            message = self._waiting
            self.buffers[self._names[message.topic]].add(message.data, message.stamp_ns)
            self._waiting = next(self._messages, None)

    def newest(self, cameras: Sequence[str] = ()) -> Frame | None:
        """The newest frame of these cameras, of all for none."""
        frames = [
            frame
            for name, buffer in self.buffers.items()
            if (not cameras or name in cameras) and (frame := buffer.newest()) is not None
        ]
        return max(frames, key=lambda frame: frame.stamp_ns, default=None)

    def dropped(self) -> list[str]:
        """What the buffers did not keep and why, a line a camera and reason."""
        lines = []
        for name, buffer in self.buffers.items():
            for reason, count in buffer.statistics().dropped.items():
                # Where reading began again, it may have begun with frames that were there.
                if reason is not DropReason.DUPLICATE_STAMP:
                    lines.append(f"{count} frames of {name} were left out: {reason.value}")
        return lines

    def _seek(self, start_ns: int) -> None:
        # Frames that the buffers still hold are older than any question looks back.
        for buffer in self.buffers.values():
            buffer.clear()
        self._messages = self.recording.messages(self._names, start_ns=start_ns)
        self._waiting = next(self._messages, None)


def ask_along(
    replay: Replay, perceiver: Perceiver, askings: Iterable[Asking], ahead: int = 1
) -> Iterator[Asked]:
    """Ask everything, in the order of the moments, and give the answers in that order.

    perceiver: over replay.buffers. ahead: questions that are put while one is answered, so that the
    recording is read meanwhile; they do not change what any of them sees.
    """
    last_seen: dict[str, tuple[int, ...]] = {}
    open_ones: deque[_Open] = deque()
    try:
        for asking in askings:
            replay.advance(asking.stamp_ns)
            cameras = asking.question.cameras
            newest = replay.newest(cameras)
            seen = _stamps(replay, cameras)
            stale = asking.only_new and (newest is None or last_seen.get(asking.name) == seen)
            last_seen[asking.name] = seen
            silent = asking.silent or stale
            open_ones.append(_Open(asking, newest, None if silent else perceiver))
            while len(open_ones) > ahead:
                yield open_ones[0].wait()
                open_ones.popleft()
        while open_ones:
            yield open_ones[0].wait()
            open_ones.popleft()
    finally:
        for each in open_ones:
            each.cancel()


def _stamps(replay: Replay, cameras: Sequence[str]) -> tuple[int, ...]:
    newest = [replay.newest([name]) for name in cameras or replay.buffers]
    return tuple(0 if frame is None else frame.stamp_ns for frame in newest)


class _Open:
    """A question that was put, or one that was not because there was nothing new."""

    def __init__(self, asking: Asking, newest: Frame | None, perceiver: Perceiver | None) -> None:
        self._asking, self._newest = asking, newest
        self._answer: Answer | None = None
        self._done = threading.Event()
        self._ticket: Ticket | None = None
        if perceiver is None:
            self._done.set()
        else:
            self._ticket = perceiver.submit(asking.question, on_done=self._keep)

    def _keep(self, answer: Answer) -> None:
        self._answer = answer
        self._done.set()

    def wait(self) -> Asked:
        self._done.wait()
        return Asked(self._asking, self._newest, self._answer)

    def cancel(self) -> None:
        if self._ticket is not None and not self._done.is_set():
            self._ticket.cancel()


def moments(start_ns: int, end_ns: int, every: float) -> Iterator[int]:
    """start, start + every, … up to the end; every: seconds. Raises InvalidRequest."""
    if not 1e-3 <= every <= 86_400:
        raise InvalidRequest(f"every is {every:g} s; it must be from 0.001 to 86400.")
    step = round(every * 1e9)
    return iter(range(start_ns, end_ns + 1, step))
