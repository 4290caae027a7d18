# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a picture shows and what happens in a clip, in words."""

from __future__ import annotations

from collections.abc import Sequence

from vila_ros.simulation import wording
from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.truth import (
    hidden,
    latest_things,
    motion,
    rough_side,
    shown,
    thing_of,
    unclear,
)
from vila_ros.simulation.wording import article, listed, sentence


def describe(truth: FrameTruth) -> str:
    """A caption: what shows, from left to right, with colours and sides.

    What shows in part is told of where nothing else is: it is not to be denied.
    """
    things = sorted(shown(truth) or unclear(truth), key=lambda thing: thing.column)
    if not things:
        return "Nothing is in the way."
    names = zip(_told_apart(things), things, strict=True)
    return sentence(listed([f"{name} {_where(thing)}" for name, thing in names]))


def describe_clip(frames: Sequence[FrameTruth]) -> str:
    """What each thing does, from left to right at the end; where that is not clear, where it is.

    What shows in part is told of where nothing else is: it is not to be denied.
    """
    things = sorted(latest_things(frames), key=lambda thing: thing.column)
    doing = [_doing(frames, thing) for thing in things]
    if not any(doing):
        doing = [_doing_in_part(frames, thing) for thing in things]
    told = [(thing, did) for thing, did in zip(things, doing, strict=True) if did]
    names = _told_apart([thing for thing, _ in told])
    said = [sentence(f"{name} {did}") for name, (_, did) in zip(names, told, strict=True)]
    return " ".join(said) or "Nothing happens."


def _doing(frames: Sequence[FrameTruth], thing: SeenThing) -> str:
    did = motion(frames, thing.number)
    if did is not None:
        return wording.MOTIONS[did][1]
    return f"is {_where(thing)}" if thing in shown(frames[-1]) else ""


def _doing_in_part(frames: Sequence[FrameTruth], thing: SeenThing) -> str:
    """The same of a thing that is half hidden at one end or at both."""
    if thing in unclear(frames[-1]):
        return f"is {_where(thing)}"
    first = thing_of(frames[0], thing.number)
    return "" if first is None or hidden(first) else wording.MOTIONS["leaves"][1]


def named(thing: SeenThing) -> str:
    """A thing by its colour and kind: a red car."""
    return article(f"{thing.color} {thing.kind}")


def _told_apart(things: Sequence[SeenThing]) -> list[str]:
    """Names of a caption's things: of two red cars the second is another one."""
    names = []
    for index, thing in enumerate(things):
        before = {(each.kind, each.color) for each in things[:index]}
        again = (thing.kind, thing.color) in before
        names.append(f"another {thing.color} {thing.kind}" if again else named(thing))
    return names


def _where(thing: SeenThing) -> str:
    where = rough_side(thing)
    return where if where == wording.AHEAD else f"on the {where}"
