# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a picture shows and what happens in a clip, in words."""

from __future__ import annotations

from collections.abc import Sequence

from vila_ros.simulation import wording
from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.truth import latest_things, motion, rough_side, shown, shows
from vila_ros.simulation.wording import article, listed, sentence


def describe(truth: FrameTruth) -> str:
    """A caption: what shows, from left to right, with colours and sides."""
    things = sorted(shown(truth), key=lambda thing: thing.column)
    if not things:
        return "Nothing is in the way."
    names = zip(_told_apart(things), things, strict=True)
    return sentence(listed([f"{name} {_where(thing)}" for name, thing in names]))


def describe_clip(frames: Sequence[FrameTruth]) -> str:
    """What each thing does, from left to right at the end; where that is not clear, where it is."""
    things, doing = [], []
    for thing in sorted(latest_things(frames), key=lambda each: each.column):
        did = motion(frames, thing.number)
        if did is not None:
            things.append(thing)
            doing.append(wording.MOTIONS[did][1])
        elif thing in frames[-1].things and shows(thing):
            things.append(thing)
            doing.append(f"is {_where(thing)}")
    told = zip(_told_apart(things), doing, strict=True)
    return " ".join(sentence(f"{name} {did}") for name, did in told) or "Nothing happens."


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
