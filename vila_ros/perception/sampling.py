# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a window a model is shown.

Several cameras are shown at common instants. The camera with the fewest frames among those that
still send gives the instants; every other camera adds its nearest frame, if that is near enough.
So a budget of eight frames over two cameras is four instants, each seen by both.

latest      each camera's newest frame, then the ones before, while the budget lasts
uniform     instants evenly spread over the window, the newest always among them
keyframes   the newest instant, then again and again the one that looks least like those already
            taken (the farthest-point rule of Gonzalez 1985, https://doi.org/10.1016/0304-3975(85)90224-5)
            by thumbnails of at most MAX_CANDIDATES instants

The same frames and arguments give the same choice. What the instants leave of the budget goes to
the frames farthest in time from all that were taken of their camera.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from vila_ros.perception.types import Frame

TOLERANCE_NS = 100_000_000
"""Frames of two cameras within this are of one instant: half a period at 5 Hz."""

MAX_CANDIDATES = 64
"""Instants that keyframes compares; a window with more is thinned evenly first."""

Thumbnail = Callable[[Frame], NDArray[np.uint8] | None]
"""A frame's thumbnail, uint8 [h, w]; None for a frame that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Instant:
    """Frames of one moment, at most one a camera, in the order of the cameras."""

    stamp_ns: int
    frames: tuple[Frame, ...]


def sample_latest(cameras: Mapping[str, Sequence[Frame]], budget: int) -> list[Frame]:
    """The newest frames of each camera, the budget shared evenly; the first cameras get the rest.

    cameras: frames by camera, oldest first. Returns at most `budget` frames as in `in_order`.
    """
    remaining = {camera: len(frames) for camera, frames in cameras.items()}
    taken: list[Frame] = []
    while len(taken) < budget and any(remaining.values()):
        for camera, frames in cameras.items():
            if remaining[camera] and len(taken) < budget:
                remaining[camera] -= 1
                taken.append(frames[remaining[camera]])
    return in_order(taken, cameras)


def sample_uniform(
    cameras: Mapping[str, Sequence[Frame]],
    budget: int,
    window_ns: int,
    anchor_ns: int = 0,
    tolerance_ns: int = TOLERANCE_NS,
) -> list[Frame]:
    """Frames at instants evenly spread over a window.

    But for the newest instant they lie on a grid of times that starts at anchor_ns, so a window
    that slides keeps most of its frames, and what is cached of them. window_ns: its length; where
    the frames span less, they are spread over what there is.
    Returns at most `budget` frames as in `in_order`.
    """
    instants = align(cameras, tolerance_ns)

    def pick(count: int) -> list[Instant]:
        return _nearest(instants, _grid(instants, count, window_ns, anchor_ns))

    return _fit(pick, instants, cameras, budget)


def sample_keyframes(
    cameras: Mapping[str, Sequence[Frame]],
    budget: int,
    thumbnail: Thumbnail,
    tolerance_ns: int = TOLERANCE_NS,
) -> list[Frame]:
    """Frames at the instants that look most different from each other.

    Two instants differ by the mean absolute difference of their thumbnails, averaged over the
    cameras that both have; where pictures are alike, by time. Frames without a thumbnail are left
    out. Returns at most `budget` frames as in `in_order`.
    """
    pictures: dict[Frame, NDArray[np.uint8] | None] = {}
    seen: list[Instant] = []
    for instant in _thinned(align(cameras, tolerance_ns), MAX_CANDIDATES):
        for frame in instant.frames:
            if frame not in pictures:
                pictures[frame] = thumbnail(frame)
        shown = tuple(frame for frame in instant.frames if pictures[frame] is not None)
        if shown:
            seen.append(Instant(instant.stamp_ns, shown))
    good = {frame: small for frame, small in pictures.items() if small is not None}
    order = _farthest_first(seen, good, budget)
    shown_of = {camera: [f for f in frames if f in good] for camera, frames in cameras.items()}
    return _fit(lambda count: [seen[i] for i in order[:count]], seen, shown_of, budget)


def candidates(
    cameras: Mapping[str, Sequence[Frame]], tolerance_ns: int = TOLERANCE_NS
) -> dict[str, list[Frame]]:
    """The frames that sample_keyframes would look at, by camera; they alone have to be held."""
    held = set(_flat(_thinned(align(cameras, tolerance_ns), MAX_CANDIDATES)))
    return {camera: [f for f in frames if f in held] for camera, frames in cameras.items()}


def in_order(frames: Iterable[Frame], cameras: Iterable[str]) -> list[Frame]:
    """Frames as a model is shown them: oldest first; of one stamp, in the order of the cameras."""
    rank = {camera: index for index, camera in enumerate(cameras)}
    return sorted(frames, key=lambda frame: (frame.stamp_ns, rank[frame.camera]))


def align(
    cameras: Mapping[str, Sequence[Frame]], tolerance_ns: int = TOLERANCE_NS
) -> list[Instant]:
    """The common instants of several cameras, oldest first.

    A camera adds its nearest frame to an instant when that is within the tolerance, or within half
    of its own period where it sends more slowly. The last instant has the newest frame of each
    camera that still sends.
    """
    filled = {camera: frames for camera, frames in cameras.items() if frames}
    if not filled:
        return []
    stamps = {camera: [frame.stamp_ns for frame in frames] for camera, frames in filled.items()}
    reach = {camera: max(tolerance_ns, _period(times) // 2 + 1) for camera, times in stamps.items()}
    newest = max(times[-1] for times in stamps.values())
    alive = [c for c, times in stamps.items() if newest - times[-1] <= 2 * reach[c]]
    leader = min(alive, key=lambda camera: len(stamps[camera]))
    instants = []
    for stamp in stamps[leader][:-1]:
        near = (_near(filled[c], stamps[c], stamp, reach[c]) for c in filled)
        instants.append(Instant(stamp, tuple(frame for frame in near if frame is not None)))
    last = tuple(frames[-1] for camera, frames in filled.items() if camera in alive)
    instants.append(Instant(newest, last))
    # What a camera that has stopped sent while the others sent nothing has no instant yet.
    for camera in filled.keys() - set(alive):
        for frame in filled[camera]:
            within = max(reach[camera], reach[leader])
            if _near(filled[leader], stamps[leader], frame.stamp_ns, within) is None:
                instants.append(Instant(frame.stamp_ns, (frame,)))
    return sorted(instants, key=lambda instant: instant.stamp_ns)


def _period(stamps: Sequence[int]) -> int:
    """The usual distance of two stamps; 0 for fewer than two."""
    if len(stamps) < 2:
        return 0
    return median_low([after - before for before, after in pairwise(stamps)])


def _nearest_index(stamps: Sequence[int], stamp: int) -> int:
    """Where the stamp nearest to one stands, the older of two as near."""
    index = bisect_left(stamps, stamp)
    if index == len(stamps) or (index and stamp - stamps[index - 1] <= stamps[index] - stamp):
        return index - 1
    return index


def _near(frames: Sequence[Frame], stamps: Sequence[int], stamp: int, reach: int) -> Frame | None:
    """The frame nearest to a stamp; None beyond reach."""
    best = _nearest_index(stamps, stamp)
    return frames[best] if abs(stamps[best] - stamp) <= reach else None


def _grid(instants: Sequence[Instant], count: int, window_ns: int, anchor_ns: int) -> list[int]:
    """`count` times: the newest instant's, and multiples of a period at least half of one before.

    So neighbours are between half a period and one and a half apart.
    """
    oldest, newest = instants[0].stamp_ns, instants[-1].stamp_ns
    if count < 2:
        return [newest]
    period = max(window_ns // (count - 1), 1)
    if newest - oldest < window_ns - period:
        period = max((newest - oldest) // (count - 1), 1)
        anchor_ns = oldest
    last = anchor_ns + (newest - period // 2 - anchor_ns) // period * period
    return [newest, *(last - step * period for step in range(count - 1))]


def _nearest(instants: Sequence[Instant], times: Sequence[int]) -> list[Instant]:
    """The distinct instants nearest to the times, newest first."""
    stamps = [instant.stamp_ns for instant in instants]
    indices = dict.fromkeys(_nearest_index(stamps, time) for time in times)
    return [instants[index] for index in indices]


def _thinned(instants: Sequence[Instant], most: int) -> Sequence[Instant]:
    """At most `most` instants, evenly spread by number, the newest among them."""
    if len(instants) <= most:
        return instants
    last = len(instants) - 1
    return [instants[last - step * last // (most - 1)] for step in range(most)][::-1]


def _farthest_first(
    instants: Sequence[Instant], thumbnails: Mapping[Frame, NDArray[np.uint8]], most: int
) -> list[int]:
    """Indices of instants: the newest, then each time the one farthest from all before."""
    if not instants:
        return []
    pictures = [
        {frame.camera: thumbnails[frame].astype(np.int16) for frame in instant.frames}
        for instant in instants
    ]
    stamps = [instant.stamp_ns for instant in instants]
    order = [len(instants) - 1]
    left = list(range(len(instants) - 1))
    change = [float("inf")] * len(instants)
    apart = [1 << 63] * len(instants)
    while left and len(order) < most:
        latest = order[-1]
        for i in left:
            change[i] = min(change[i], _change(pictures[i], pictures[latest]))
            apart[i] = min(apart[i], abs(stamps[i] - stamps[latest]))
        best = max(left, key=lambda i: (change[i], apart[i], i))
        left.remove(best)
        order.append(best)
    return order


def _change(one: Mapping[str, NDArray[np.int16]], other: Mapping[str, NDArray[np.int16]]) -> float:
    """How much two instants differ, in grey levels (0 to 255)."""
    common = one.keys() & other.keys()
    if not common:
        return 0.0
    return float(np.mean([np.abs(one[camera] - other[camera]).mean() for camera in common]))


def _fit(
    pick: Callable[[int], list[Instant]],
    instants: Sequence[Instant],
    cameras: Mapping[str, Sequence[Frame]],
    budget: int,
) -> list[Frame]:
    """As many instants as the budget pays for, what is left of it given to single frames.

    pick: the best `count` instants, the most important first.
    """
    if not instants or budget < 1:
        return []
    most = max(len(instant.frames) for instant in instants)
    count = max(budget // most, 1)
    taken = _flat(pick(count))
    # Instants that lack a camera cost less, so more of them may fit.
    while count < min(budget, len(instants)):
        more = _flat(pick(count + 1))
        if len(more) > budget:
            break
        taken, count = more, count + 1
    return in_order(_filled(taken[:budget], instants, cameras, budget), cameras)


def _flat(instants: Iterable[Instant]) -> list[Frame]:
    """The frames of instants, each once: a slow camera's may be of two."""
    return list(dict.fromkeys(frame for instant in instants for frame in instant.frames))


def _filled(
    taken: list[Frame],
    instants: Sequence[Instant],
    cameras: Mapping[str, Sequence[Frame]],
    budget: int,
) -> list[Frame]:
    """The frames and, while the budget lasts, those farthest in time from their camera's others.

    Frames of instants come before the rest; of equally far ones the newer, then the camera named
    first.
    """
    if len(taken) >= budget:
        return taken
    of_instants = dict.fromkeys(_flat(instants), 1)
    everything = dict.fromkeys((f for frames in cameras.values() for f in frames), 0) | of_instants
    rank = {camera: -index for index, camera in enumerate(cameras)}
    gap = dict.fromkeys((frame for frame in everything if frame not in taken), 1 << 63)

    def approach(frame: Frame) -> None:
        for other in gap:
            if other.camera == frame.camera:
                gap[other] = min(gap[other], abs(other.stamp_ns - frame.stamp_ns))

    for frame in taken:
        approach(frame)
    taken = list(taken)
    while gap and len(taken) < budget:
        best = max(gap, key=lambda f: (everything[f], gap[f], f.stamp_ns, rank[f.camera]))
        del gap[best]
        taken.append(best)
        approach(best)
    return taken
