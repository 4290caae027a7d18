# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames samples are made of, found in one pass over a recording in time order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from vila_ros.perception.types import Frame

MAX_LAG_NS = 1_000_000_000
"""A frame that comes later than this after the wanted time does not stand for it."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A frame that is wanted of a topic: the one with this header stamp, or else the first that was
    recorded at or after at_ns, and at most a second later."""

    topic: str
    at_ns: int = 0
    stamp_ns: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """A frame that was found; recorded_ns: when it was recorded."""

    topic: str
    frame: Frame
    recorded_ns: int


class FramePicker:
    """Gives frames to those who want them. Picks are known by numbers of the caller's choice."""

    def __init__(self) -> None:
        self._by_time: dict[str, list[tuple[int, int]]] = {}
        self._by_stamp: dict[tuple[str, int], list[int]] = {}

    def want(self, number: int, pick: Pick) -> None:
        """Want a frame that has not come yet."""
        if pick.stamp_ns:
            self._by_stamp.setdefault((pick.topic, pick.stamp_ns), []).append(number)
        else:
            heapq.heappush(self._by_time.setdefault(pick.topic, []), (pick.at_ns, number))

    def take(self, shot: Shot) -> Iterator[int]:
        """The numbers of all picks that a frame fulfils, each once."""
        waiting = self._by_time.get(shot.topic, [])
        while waiting and waiting[0][0] <= shot.recorded_ns:
            at_ns, number = heapq.heappop(waiting)
            if shot.recorded_ns - at_ns <= MAX_LAG_NS:
                yield number
        yield from self._by_stamp.pop((shot.topic, shot.frame.stamp_ns), ())
