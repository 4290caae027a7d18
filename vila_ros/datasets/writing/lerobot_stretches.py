# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stretches of a recording in which every camera and value is there, at a constant rate."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.datasets.slice_export import SliceTask
from vila_ros.datasets.split import timeline_from_json
from vila_ros.datasets.values import TopicValues, is_finite
from vila_ros.errors import InvalidRequest

HOLD_NS = 500_000_000
"""A frame stands for moments up to this far away; longer gaps end the episode."""
LEAST_FRAMES = 2


@dataclass(slots=True)
class Track:
    """A camera's frames: when recorded, and the headers' stamps."""

    camera: RecordedCamera
    size: tuple[int, int] = (0, 0)
    recorded: list[int] = field(default_factory=list)
    stamped: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Episode:
    """A part of the recording. frames: of each camera, in the order of the tracks, the number of
    the recorded frame for each moment."""

    split: str
    frames: tuple[tuple[int, ...], ...]
    values: tuple[Mapping[str, float], ...]


def frame_rate(track: Track) -> int:
    """A camera's usual frames a second. Raises InvalidRequest for fewer than two frames."""
    gaps = [after - before for before, after in pairwise(track.recorded) if after > before]
    if not gaps:
        raise InvalidRequest(
            f"The camera '{track.camera.name}' has fewer than 2 frames that can be read; "
            "LeRobot needs a rate."
        )
    return max(1, round(1e9 / statistics.median(gaps)))


def find_episodes(
    task: SliceTask,
    tracks: Sequence[Track],
    fps: int,
    values: TopicValues,
    needed: Sequence[str],
) -> list[Episode]:
    """The stretches of a constant rate in which nothing is missing."""
    if not all(track.recorded for track in tracks):
        return []
    rising = all(a < b for track in tracks for a, b in pairwise(track.stamped))
    # Header stamps are the cameras' own times; without an order in them those of reception count.
    clocks = [track.stamped if rising else track.recorded for track in tracks]
    start, end = max(clock[0] for clock in clocks), min(clock[-1] for clock in clocks)
    timeline = timeline_from_json(task.timeline)
    episodes: list[Episode] = []
    part, rows, row_values = "", list[tuple[int, ...]](), list[Mapping[str, float]]()

    def finish() -> None:
        if len(rows) >= LEAST_FRAMES and part != "gap":
            frames = tuple(zip(*rows, strict=True))
            episodes.append(Episode(part, frames, tuple(row_values)))
        rows.clear()
        row_values.clear()

    number = 0
    while (moment := start + round(number * 1e9 / fps)) <= end:
        number += 1
        found = [_nearest(clock, moment) for clock in clocks]
        first = found[0]
        at = {}
        if all(index is not None for index in found) and first is not None:
            stamp, received = tracks[0].stamped[first], tracks[0].recorded[first]
            at = {name: values.at(name, stamp, received) for name in needed}
            now = timeline.part_of(received, received)
        else:
            now = "gap"
        numbers = {
            name: float(v) for name, v in at.items() if isinstance(v, int | float) and is_finite(v)
        }
        if now == "gap" or len(numbers) < len(needed):
            finish()
            continue
        if now != part:
            finish()
            part = now
        rows.append(tuple(index for index in found if index is not None))
        row_values.append(numbers)
    finish()
    return episodes


def _nearest(clock: Sequence[int], moment: int) -> int | None:
    after = bisect_left(clock, moment)
    near = [index for index in (after - 1, after) if 0 <= index < len(clock)]
    best = min(near, key=lambda index: abs(clock[index] - moment))
    return best if abs(clock[best] - moment) <= HOLD_NS else None
