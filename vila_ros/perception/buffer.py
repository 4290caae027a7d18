# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The last seconds of one camera, as they arrived."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from vila_ros.errors import InvalidRequest
from vila_ros.perception.images import MAX_PIXELS, inspect_message
from vila_ros.perception.types import DropReason, Frame, MessageKind, RefusedImage

_log = logging.getLogger("vila_ros.perception")
_serials = itertools.count(1)

_SECOND = 1_000_000_000
JUMP_NS = _SECOND
"""A stamp, or a clock, this much behind the last one is a jump back: a bag that starts over or a
simulation that was reset. Messages that only overtook each other differ by less."""

# What a frame takes besides its message and frame_id: the Frame, its stamp and serial, and a place
# in each of two lists.
_OBJECT_BYTES = (
    sys.getsizeof(Frame("", 0, "", MessageKind.IMAGE, b"")) + 2 * sys.getsizeof(1 << 62) + 2 * 8
)


@dataclass(frozen=True, slots=True)
class BufferLimits:
    """What a buffer may hold; the first limit that is reached counts.

    seconds: between the oldest and the newest stamp. frames: at least 1. bytes: of the messages and
    the objects around them.
    pixels: of one image. future_seconds: how far a stamp may be ahead of the clock, for cameras on
    other computers.
    """

    seconds: float = 10.0
    frames: int = 300
    bytes: int = 512 * 1024 * 1024
    pixels: int = MAX_PIXELS
    future_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("bytes", 1), ("pixels", 1)):
            if getattr(self, name) < least:
                raise InvalidRequest(f"{name} is {getattr(self, name)}; at least {least}.")
        for name in ("seconds", "future_seconds"):
            if not 0.0 <= getattr(self, name) <= 86400.0:
                raise InvalidRequest(f"{name} is {getattr(self, name)}; from 0 to 86400.")


@dataclass(frozen=True, slots=True)
class BufferStatistics:
    """What a buffer has seen and holds.

    received: messages given to it. dropped: those not kept, by reason; frames that were kept and
    made room for newer ones are not among them.
    frames, bytes: held now. oldest_ns, newest_ns: their stamps; None without frames.
    resets: how often time jumped back.
    """

    received: int
    dropped: Mapping[DropReason, int]
    frames: int
    bytes: int
    oldest_ns: int | None
    newest_ns: int | None
    resets: int


class FrameBuffer:
    """The newest frames of one camera by stamp, within limits. All methods are thread-safe.

    Frames are kept in the order of their stamps, whatever the order of their arrival. Nothing is
    decoded: a message is looked at (some microseconds) and kept as it is. Locks are held for
    microseconds, never while a message is looked at.
    """

    def __init__(self, camera: str, kind: MessageKind, limits: BufferLimits | None = None) -> None:
        self.camera = camera
        self.kind = kind
        self._limits = limits or BufferLimits()
        self._lock = threading.Lock()
        self._frames: list[Frame] = []
        self._stamps: list[int] = []
        self._bytes = 0
        self._clock_ns = 0
        self._since = 0
        self._received = 0
        self._resets = 0
        self._dropped = dict.fromkeys(DropReason, 0)

    @property
    def limits(self) -> BufferLimits:
        """The limits in force."""
        return self._limits

    @property
    def since(self) -> int:
        """The serial of the first frame after time last jumped back; 0 if it never did."""
        return self._since

    def add(self, data: bytes, now_ns: int) -> DropReason | None:
        """Keep a serialized message, or count why not. Never raises for what is in it.

        now_ns: the clock by which the stamps were taken (the ROS clock), nanoseconds; 0 where it
        is not known yet, as under simulated time before the first tick.
        Returns the reason when the message was dropped, None when it was kept.
        """
        if type(data) is not bytes:
            data = bytes(data)  # a view would keep alive all that it is a view of
        try:
            view = inspect_message(self.kind, data, self._limits.pixels)
        except RefusedImage as error:
            return self._drop(error.reason)
        if view.stamp_ns <= 0:
            return self._drop(DropReason.ZERO_STAMP)
        frame = Frame(
            self.camera,
            view.stamp_ns,
            view.frame_id,
            self.kind,
            data,
            next(_serials),
        )
        with self._lock:
            jumped = self._note_jump(frame, now_ns)
            reason = self._keep(frame, now_ns)
            self._received += 1
            if reason is not None:
                self._dropped[reason] += 1
        if jumped:
            _log.warning(
                "Camera %s: time jumped back by %.3f s to %.3f s (a recording that starts over, or "
                "a simulation that was reset); its frames were cleared.",
                self.camera,
                jumped / _SECOND,
                frame.stamp_ns / _SECOND,
            )
        return reason

    def window(self, start_ns: int, end_ns: int) -> list[Frame]:
        """Frames with start_ns <= stamp <= end_ns, oldest first."""
        with self._lock:
            first = bisect_left(self._stamps, start_ns)
            return self._frames[first : bisect_right(self._stamps, end_ns)]

    def newest(self) -> Frame | None:
        """The frame with the newest stamp; None without frames."""
        with self._lock:
            return self._frames[-1] if self._frames else None

    def oldest(self) -> Frame | None:
        """The frame with the oldest stamp; None without frames."""
        with self._lock:
            return self._frames[0] if self._frames else None

    def statistics(self) -> BufferStatistics:
        """What was received, dropped and is held, at one moment."""
        with self._lock:
            return BufferStatistics(
                received=self._received,
                dropped=MappingProxyType(
                    {reason: count for reason, count in self._dropped.items() if count}
                ),
                frames=len(self._frames),
                bytes=self._bytes,
                oldest_ns=self._stamps[0] if self._stamps else None,
                newest_ns=self._stamps[-1] if self._stamps else None,
                resets=self._resets,
            )

    def discard(self, frame: Frame, reason: DropReason) -> None:
        """Drop a kept frame that turned out bad, as one with damage inside does when decoded."""
        with self._lock:
            index = bisect_left(self._stamps, frame.stamp_ns)
            if index < len(self._frames) and self._frames[index] is frame:
                self._remove(index, index + 1)
                self._dropped[reason] += 1

    def clear(self) -> None:
        """Forget all frames; the counts stay."""
        with self._lock:
            self._remove(0, len(self._frames))

    def set_limits(self, limits: BufferLimits) -> None:
        """Put other limits in force at once; what exceeds them is forgotten, oldest first."""
        with self._lock:
            self._limits = limits
            if self._stamps:
                self._remove(0, self._too_many(self._stamps[-1]))

    def _drop(self, reason: DropReason) -> DropReason:
        with self._lock:
            self._received += 1
            self._dropped[reason] += 1
        return reason

    def _note_jump(self, frame: Frame, now_ns: int) -> int:
        """Clear the buffer when time has jumped back; returns by how much, else 0."""
        behind = 0
        if now_ns > 0:
            behind = self._clock_ns - now_ns
            self._clock_ns = now_ns
        if self._stamps:
            behind = max(behind, self._stamps[-1] - frame.stamp_ns)
            if behind > JUMP_NS:
                self._remove(0, len(self._frames))
                self._since = frame.serial
                self._resets += 1
                return behind
        return 0

    def _keep(self, frame: Frame, now_ns: int) -> DropReason | None:
        limits, stamps = self._limits, self._stamps
        if now_ns > 0 and frame.stamp_ns > now_ns + limits.future_seconds * _SECOND:
            return DropReason.FUTURE_STAMP
        size = held_bytes(frame)
        if size > limits.bytes:
            return DropReason.OVERSIZED
        index = bisect_left(stamps, frame.stamp_ns)
        if index < len(stamps) and stamps[index] == frame.stamp_ns:
            return DropReason.DUPLICATE_STAMP
        newest_ns = max(frame.stamp_ns, stamps[-1] if stamps else 0)
        gone = self._too_many(newest_ns, size, 1)
        if index < gone or newest_ns - frame.stamp_ns > limits.seconds * _SECOND:
            return DropReason.LATE  # it would push newer frames out, or is too old itself
        self._remove(0, gone)
        stamps.insert(index - gone, frame.stamp_ns)
        self._frames.insert(index - gone, frame)
        self._bytes += size
        return None

    def _too_many(self, newest_ns: int, size: int = 0, count: int = 0) -> int:
        """How many of the oldest frames must go before `count` of `size` bytes more may come."""
        limits, frames = self._limits, self._frames
        gone = bisect_left(self._stamps, newest_ns - int(limits.seconds * _SECOND))
        gone = max(gone, len(frames) + count - limits.frames)
        left = self._bytes - sum(map(held_bytes, frames[:gone]))
        while gone < len(frames) and left + size > limits.bytes:
            left -= held_bytes(frames[gone])
            gone += 1
        return gone

    def _remove(self, start: int, stop: int) -> None:
        if stop > start:
            self._bytes -= sum(map(held_bytes, self._frames[start:stop]))
            del self._frames[start:stop]
            del self._stamps[start:stop]


def held_bytes(frame: Frame) -> int:
    """What keeping a frame costs: its message and the objects around it."""
    return sys.getsizeof(frame.data) + sys.getsizeof(frame.frame_id) + _OBJECT_BYTES
