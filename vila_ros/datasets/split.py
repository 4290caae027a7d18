# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which part of the recordings is for training and which for validation.

Neighbouring frames look alike, so a random split of frames would validate on what was trained on.
Whole recordings go to one side, or a stretch of time of each, with a gap on both its sides of which
nothing is used. Recordings of the same time (two recorders on one drive) count as one.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vila_ros.errors import InvalidRequest

Part = Literal["train", "val", "gap"]
METHODS = ("auto", "recording", "time")
_ENOUGH_RECORDINGS = 5  # so many are needed before "auto" splits by recording
REAL_TIME_NS = 1_000_000_000_000_000
"""Times before it are made up: sources without times of their own (videos, folders, tubs) all begin
at 1 s. That theirs coincide says nothing."""


@dataclass(frozen=True, slots=True)
class Drive:
    """A recording to split: its name, and nanoseconds of its first and last message."""

    recording: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SplitRule:
    """method: one of METHODS. val: the part of the time for validation, 0 to 0.9.
    gap: seconds left out on each side of a border. seed: chooses recordings and stretches."""

    method: str = "auto"
    val: float = 0.1
    gap: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values out of range."""
        if self.method not in METHODS:
            raise InvalidRequest(f"The split '{self.method}' is not one of {', '.join(METHODS)}.")
        if not 0 <= self.val <= 0.9:
            raise InvalidRequest(f"The validation part {self.val} is outside of [0, 0.9].")
        if not 0 <= self.gap <= 3600:
            raise InvalidRequest(f"The gap of {self.gap} s is outside of [0, 3600] s.")


@dataclass(frozen=True, slots=True)
class Timeline:
    """The parts of a recording: part i reaches from borders[i] (included) to borders[i + 1]."""

    borders: tuple[int, ...]
    parts: tuple[Part, ...]

    def part_of(self, first_ns: int, last_ns: int) -> Part:
        """Where a sample with frames from first_ns to last_ns belongs; "gap": it is left out."""
        first, last = self._index(first_ns), self._index(last_ns)
        return self.parts[first] if first == last else "gap"

    def _index(self, stamp_ns: int) -> int:
        return min(max(bisect_right(self.borders, stamp_ns) - 1, 0), len(self.parts) - 1)


def split_recordings(drives: Sequence[Drive], rule: SplitRule) -> dict[str, Timeline]:
    """The timeline of every recording, by name; the same for the same seed and recordings."""
    groups = overlapping(drives)
    method = rule.method
    if method == "auto":
        method = "recording" if len(groups) >= _ENOUGH_RECORDINGS else "time"
    if rule.val == 0:
        return {drive.recording: _whole(drive, "train") for drive in drives}
    if method == "time":
        return {
            drive.recording: timeline
            for group in groups
            for drive, timeline in zip(group, _by_time(group, rule), strict=True)
        }
    if len(groups) < 2:
        raise InvalidRequest(
            "A split by recording needs at least 2 recordings of different times; split by time, "
            "or set the validation part to 0."
        )
    chosen = _validation_groups(groups, rule)
    return {
        drive.recording: _whole(drive, "val" if index in chosen else "train")
        for index, group in enumerate(groups)
        for drive in group
    }


def overlapping(drives: Sequence[Drive]) -> list[list[Drive]]:
    """Recordings that overlap in time together, each group and the groups in order of time."""
    groups: list[list[Drive]] = []
    end = 0
    for drive in sorted(drives, key=lambda drive: (drive.start_ns, drive.recording)):
        real = drive.start_ns >= REAL_TIME_NS
        if groups and real and drive.start_ns <= end:
            groups[-1].append(drive)
        else:
            groups.append([drive])
        end = max(end, drive.end_ns) if real else 0
    return groups


def _whole(drive: Drive, part: Part) -> Timeline:
    return Timeline((drive.start_ns, drive.end_ns + 1), (part,))


def _validation_groups(groups: list[list[Drive]], rule: SplitRule) -> set[int]:
    """Groups at random until they make up the validation part; at least one, never all."""
    lengths = [max(d.end_ns for d in group) - min(d.start_ns for d in group) for group in groups]
    order = list(range(len(groups)))
    random.Random(rule.seed).shuffle(order)  # noqa: S311
    wanted, chosen, taken = rule.val * sum(lengths), set[int](), 0
    for index in order[: len(order) - 1]:
        # The one that brings the sum closest; half a recording too much is as good as too little.
        if chosen and taken + lengths[index] / 2 > wanted:
            break
        chosen.add(index)
        taken += lengths[index]
    return chosen


def _by_time(group: list[Drive], rule: SplitRule) -> list[Timeline]:
    """A stretch of the group's time for validation, at a place that the seed chooses.

    It lies at the start or the end, or between; the gaps are taken from the training part.
    """
    start = min(drive.start_ns for drive in group)
    end = max(drive.end_ns for drive in group) + 1
    length = round((end - start) * rule.val)
    name = min(drive.recording for drive in group)
    place = random.Random(f"{rule.seed}:{name}").random()  # noqa: S311
    first = start + round((end - start - length) * place)
    gap = round(rule.gap * 1e9)
    marks = sorted(
        min(max(mark, start), end) for mark in (start, first - gap, first, first + length)
    )
    borders = (*marks, min(first + length + gap, end), end)
    parts: tuple[Part, ...] = ("train", "gap", "val", "gap", "train")
    return [Timeline(borders, parts)] * len(group)


def timeline_to_json(timeline: Timeline) -> list[list[int | str]]:
    """Borders and parts as plain values: [[from_ns, part], …, [to_ns, ""]]."""
    names = (*timeline.parts, "")
    return [[border, name] for border, name in zip(timeline.borders, names, strict=True)]


def timeline_from_json(rows: Sequence[Sequence[int | str]]) -> Timeline:
    """The inverse of timeline_to_json."""
    borders = tuple(int(row[0]) for row in rows)
    known: Mapping[str, Part] = {"train": "train", "val": "val", "gap": "gap"}
    return Timeline(borders, tuple(known[str(row[1])] for row in rows[:-1]))
