# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples in the making: which frames they want, and what becomes of them once these are there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vila_ros.datasets.picking import Pick
from vila_ros.datasets.records import Clip, ExportedSample, MediaFile, Part

Finish = Callable[[str, tuple[MediaFile, ...]], "ExportedSample | str"]
"""Makes the sample of an id and its pictures; text instead says why there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A sample whose frames are still to come.

    order: sorts the samples of a task. name: the rule and what else tells it from others of the
    same frame. picks: its frames, in the order they are shown.
    """

    order: tuple[int, int, int]
    name: str
    picks: tuple[Pick, ...]
    finish: Finish


def media_then(count: int, question: str) -> tuple[Part, ...]:
    """All pictures, then the question."""
    return (*range(count), question)


def clip_of(media: tuple[MediaFile, ...], folder: str) -> Clip:
    """All pictures as one clip, with seconds since the first by their header stamps."""
    first = media[0].stamp_ns
    times = tuple(round((each.stamp_ns - first) / 1e9, 6) for each in media)
    return Clip(tuple(range(len(media))), times, folder)
