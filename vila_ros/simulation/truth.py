# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a truth says clearly: what shows and what does not, where it is, and what it does."""

from __future__ import annotations

from collections.abc import Sequence

from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.wording import AHEAD, FAR, LEFT, NEAR, RIGHT

_SHOWS, _HINTS = 0.5, 0.06  # visible parts from which a thing shows, and below which it is hidden
_LEAST_HEIGHT = 0.08
_NEAR_METRES, _FAR_METRES = 4.0, 6.5


def shown(truth: FrameTruth) -> tuple[SeenThing, ...]:
    """Things that anybody would see, nearest first."""
    return tuple(thing for thing in truth.things if shows(thing))


def unclear(truth: FrameTruth) -> tuple[SeenThing, ...]:
    """Things that some would see: half hidden or tiny. Questions do not touch their kinds."""
    return tuple(thing for thing in truth.things if not shows(thing) and not hidden(thing))


def shows(thing: SeenThing) -> bool:
    """Whether anybody would see it."""
    return thing.visible >= _SHOWS and thing.height >= _LEAST_HEIGHT


def hidden(thing: SeenThing) -> bool:
    """Whether nobody would see it."""
    return thing.visible < _HINTS


def side(thing: SeenThing) -> str | None:
    """Where it is in the picture: left, ahead or right; None between two of them."""
    if thing.column < 0.4:
        return LEFT
    if 0.42 <= thing.column <= 0.58:
        return AHEAD
    return RIGHT if thing.column > 0.6 else None


def rough_side(thing: SeenThing) -> str:
    """Where it is: left, ahead or right, also where it is not clear."""
    if thing.column < 0.41:
        return LEFT
    return AHEAD if thing.column <= 0.59 else RIGHT


def nearness(thing: SeenThing) -> str | None:
    """Whether it is near or far; None between the two."""
    if thing.distance <= _NEAR_METRES:
        return NEAR
    return FAR if thing.distance >= _FAR_METRES else None


def latest_things(frames: Sequence[FrameTruth]) -> tuple[SeenThing, ...]:
    """Each thing as the last picture that lists it has it; those of the very last picture first."""
    latest: dict[int, SeenThing] = {}
    for truth in reversed(frames):
        for thing in truth.things:
            latest.setdefault(thing.number, thing)
    return tuple(latest.values())


def thing_of(truth: FrameTruth, number: int) -> SeenThing | None:
    """A picture's thing by its number; None where the picture does not list it."""
    return next((thing for thing in truth.things if thing.number == number), None)


def motion(frames: Sequence[FrameTruth], number: int) -> str | None:
    """What a thing does over a clip, seen from the camera: a key of wording.MOTIONS.

    None where it does two things, too little, or cannot be seen well enough. A drive's pictures
    tell of what is near alone: what one does not list is not to be seen in it.
    """
    first, last = (thing_of(truth, number) for truth in (frames[0], frames[-1]))
    if first is None or hidden(first):
        return "appears" if last is not None and shows(last) else None
    if last is None or hidden(last):
        return "leaves" if shows(first) else None
    if not (shows(first) and shows(last)):
        return None
    aside = last.column - first.column
    ratio = last.distance / first.distance
    if abs(aside) >= 0.3 and min(first.column, last.column) < 0.42 < 0.58 < max(
        first.column, last.column
    ):
        return "crosses to the right" if aside > 0 else "crosses to the left"
    if ratio <= 0.72:
        return "comes closer"
    if ratio >= 1.38:
        return "moves away"
    return "stays" if abs(aside) <= 0.06 and 0.93 <= ratio <= 1.07 else None


def drives(frames: Sequence[FrameTruth]) -> bool:
    """Whether the camera moves."""
    return any(truth.speed > 0.05 for truth in frames)
