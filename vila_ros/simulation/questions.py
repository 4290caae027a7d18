# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about a picture or a clip, with their true answers.

Only what is clear is asked about: never a half-hidden thing, never one between left and ahead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vila_ros.simulation import wording
from vila_ros.simulation.captions import describe, describe_clip, named
from vila_ros.simulation.scene import ROAD, ROOM, YARD, FrameTruth, SeenThing
from vila_ros.simulation.scenes import HELD_OUT
from vila_ros.simulation.shapes import COLORS, KINDS, SHAPES
from vila_ros.simulation.truth import (
    drives,
    hidden,
    latest_things,
    motion,
    nearness,
    rough_side,
    shown,
    shows,
    side,
    thing_of,
    unclear,
)
from vila_ros.simulation.wording import SIDES, article, listed


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer. task: what it asks for; a key of TASKS or CLIP_TASKS.

    kind: of the thing whose colour the answer gives without naming the thing; else empty.
    """

    task: str
    question: str
    answer: str
    kind: str = ""


class Questioner:
    """Asks about one picture, or about a clip's end (frames in time order).

    chance: of wordings and of what is asked. rare: whether colours held out from training may be
    asked for where they are not shown; a model that learnt with them would learn to deny them.
    """

    def __init__(
        self, frames: Sequence[FrameTruth], chance: np.random.Generator, rare: bool = False
    ) -> None:
        self._frames = tuple(frames)
        self._chance = chance
        self._rare = rare
        self._truth = frames[-1]
        self._shown = shown(self._truth)
        self._unclear = {thing.kind for thing in unclear(self._truth)}
        counts = dict.fromkeys(KINDS, 0)
        for thing in self._shown:
            counts[thing.kind] += 1
        self._counts = counts
        # "The car" is one car in all pictures: another that has left would be asked about as well.
        seen = {
            thing.number: thing.kind
            for truth in frames
            for thing in truth.things
            if not hidden(thing)
        }
        kinds = list(seen.values())
        self._lone = tuple(thing for thing in self._shown if kinds.count(thing.kind) == 1)

    def ask(self, task: str) -> Asked | None:
        """A question of a kind; None where the truth allows none."""
        made = (_CLIP_MAKERS if task in _CLIP_MAKERS else _MAKERS)[task](self)
        return None if made is None else Asked(task, *made)

    def ask_every(self, family: str) -> list[Asked]:
        """Questions that differ in one word only, of which some are true and some are not.

        family: one of FAMILIES. Asked about one picture they teach what a single question among
        many pictures hardly does: that the answer hangs on that word. May be empty.
        """
        return [Asked(family, *each) for each in _FAMILIES[family](self)]

    # Words

    def _pick(self, items: Sequence[str]) -> str:
        return items[int(self._chance.integers(len(items)))]

    def _even(self) -> bool:
        return bool(self._chance.random() < 0.5)

    def _one(self, things: Sequence[SeenThing]) -> SeenThing | None:
        return things[int(self._chance.integers(len(things)))] if things else None

    def _put(self, templates: Sequence[str], kind: str, color: str = "") -> str:
        names = wording.NAMES[kind]
        one, many = names[0 if self._chance.random() < 0.7 else self._chance.integers(len(names))]
        if color:
            one, many = f"{color} {one}", f"{color} {many}"
        return self._pick(templates).format(thing=one, things=many, a_thing=article(one))

    def _yes(self, true: bool) -> str:
        return "yes" if true else "no"

    # One picture

    def _absent(self) -> list[str]:
        """Kinds of which nothing is there, in no frame."""
        there = {
            thing.kind for truth in self._frames for thing in truth.things if not hidden(thing)
        }
        return [kind for kind in KINDS if kind not in there]

    def _ask_presence(self) -> tuple[str, str] | None:
        present = [kind for kind in KINDS if self._counts[kind]]
        absent = self._absent()
        wanted = self._even()
        kinds = present if wanted else absent
        if not kinds:
            return None
        return self._put(wording.PRESENCE, self._pick(kinds)), self._yes(wanted)

    def _ask_color_presence(self) -> tuple[str, str] | None:
        wanted = self._even()
        thing = self._one([each for each in self._shown if each.kind not in self._unclear])
        if thing is None:
            return None
        color = thing.color
        if not wanted:
            taken = {each.color for each in self._shown if each.kind == thing.kind}
            color = self._pick(self._colors(thing.kind, taken))
        return self._put(wording.COLOR_PRESENCE, thing.kind, color), self._yes(wanted)

    def _colors(self, kind: str, taken: set[str]) -> list[str]:
        return [
            color
            for color in COLORS
            if color not in taken and (self._rare or color != HELD_OUT[kind])
        ]

    def _ask_side_presence(self) -> tuple[str, str] | None:
        thing = self._one(self._lone)
        if thing is None or (where := side(thing)) is None:
            return None
        asked = where if self._even() else self._pick([each for each in SIDES if each != where])
        color = thing.color if self._chance.random() < 0.3 else ""
        templates = wording.SIDE_PRESENCE[asked]
        return self._put(templates, thing.kind, color), self._yes(asked == where)

    def _ask_color(self) -> _Made | None:
        thing = self._one(self._lone)
        if thing is None:
            return None
        return self._put(wording.COLOR, thing.kind), thing.color, thing.kind

    def _ask_side(self) -> tuple[str, str] | None:
        thing = self._one(self._lone)
        if thing is None or (where := side(thing)) is None:
            return None
        color = thing.color if self._chance.random() < 0.3 else ""
        return self._put(wording.SIDE, thing.kind, color), where

    def _ask_distance(self) -> tuple[str, str] | None:
        thing = self._one(self._lone)
        if thing is None or (near := nearness(thing)) is None:
            return None
        return self._put(wording.DISTANCE, thing.kind), near

    def _ask_count(self) -> tuple[str, str] | None:
        kinds = [kind for kind in KINDS if self._counts[kind] and kind not in self._unclear]
        if not kinds:
            return None
        # The most numerous kind: ones would be asked for far more often otherwise.
        kind = max(kinds, key=lambda each: self._counts[each] + self._chance.random() * 0.5)
        return self._put(wording.COUNT, kind), str(self._counts[kind])

    def _ask_what(self) -> tuple[str, str] | None:
        if self._unclear or any(side(thing) is None for thing in self._shown):
            return None
        where = self._pick(SIDES)
        there = [thing for thing in self._shown if side(thing) == where]
        if len(there) > 1:
            return None
        return self._pick(wording.WHAT[where]), named(there[0]) if there else "nothing"

    def _ask_nearest(self) -> tuple[str, str] | None:
        if not self._shown or self._unclear:
            return None
        first, *rest = self._shown
        if rest and rest[0].distance < first.distance * 1.25:
            return None
        # Distances are of middles; a car's front may be nearer than a chair before its middle.
        if any(each.distance - _half(each.kind) < first.distance for each in rest):
            return None
        return self._pick(wording.NEAREST), named(first)

    def _ask_caption(self) -> tuple[str, str] | None:
        return self._pick(wording.CAPTION), describe(self._truth)

    def _ask_place(self) -> tuple[str, str] | None:
        place = self._truth.place
        if self._chance.random() < 0.4:
            return self._pick(wording.PLACE), wording.PLACE_ANSWERS[place]
        if self._even():
            return self._pick(wording.INDOORS), self._yes(place == ROOM)
        return self._pick(wording.ON_ROAD), self._yes(place == ROAD)

    def _ask_json(self) -> _Made | None:
        thing = self._one(self._lone)
        if thing is None or self._unclear:
            return None
        if self._even():
            kinds = [thing.kind, *self._chance.permutation([k for k in KINDS if k != thing.kind])]
            kinds = [kinds[i] for i in self._chance.permutation(2 + self._chance.integers(2))]
            names = [wording.NAMES[kind][0][1] for kind in kinds]
            asked = self._pick(
                ("How many {} are there? Answer in JSON.", "Count {} as JSON.",
                 "Give the number of {} as JSON.")
            ).format(listed(names))  # fmt: skip
            counts = {name: self._counts[kind] for name, kind in zip(names, kinds, strict=True)}
            return asked, json.dumps(counts)
        fields = {"kind": thing.kind, "color": thing.color, "side": rough_side(thing)}
        first = int(self._chance.integers(0, 2))
        keys = list(fields)[first:] if side(thing) else list(fields)[first:2]
        asked = self._pick(
            ("Give {1} of the {0} as JSON.", "Report the {0} as JSON with {1}.",
             "Answer in JSON: {1} of the {0}.")
        ).format(thing.kind, listed(keys))  # fmt: skip
        return asked, json.dumps({key: fields[key] for key in keys}), thing.kind

    # A clip

    def _movers(self) -> list[tuple[SeenThing, str]]:
        """Things of a kind of their own whose motion is clear."""
        things = latest_things(self._frames)
        kinds = [thing.kind for thing in things]
        return [
            (thing, did)
            for thing in things
            if kinds.count(thing.kind) == 1
            and (did := motion(self._frames, thing.number)) is not None
        ]

    def _mover(self) -> tuple[SeenThing, str] | None:
        movers = self._movers()
        return movers[self._chance.integers(len(movers))] if movers else None

    def _ask_motion(self) -> tuple[str, str] | None:
        found = self._mover()
        if found is None:
            return None
        thing, did = found
        return self._put(wording.MOTION, thing.kind), wording.MOTIONS[did][0]

    def _ask_motion_check(self) -> tuple[str, str] | None:
        found = self._mover()
        if found is None:
            return None
        thing, did = found
        wanted = self._even()
        asked = did if wanted else self._pick([each for each in self._motions() if each != did])
        if asked not in self._motions():
            return None
        return self._put(wording.MOTIONS[asked][2], thing.kind), self._yes(wanted)

    def _motions(self) -> list[str]:
        """What may be asked about a thing. Before a robot that drives, what stands comes closer and
        what goes along with it stays: whether either stands still has two answers.
        """
        return [each for each in wording.MOTIONS if each != "stays" or not drives(self._frames)]

    def _ask_appears(self) -> tuple[str, str] | None:
        return self._which("appears", wording.APPEARS)

    def _ask_leaves(self) -> tuple[str, str] | None:
        return self._which("leaves", wording.LEAVES)

    def _which(self, wanted: str, templates: Sequence[str]) -> tuple[str, str] | None:
        """Which thing did it; nothing in about half of the questions."""
        things = latest_things(self._frames)
        did = {thing: motion(self._frames, thing.number) for thing in things}
        there = [thing for thing, each in did.items() if each == wanted]
        if len(there) > 1 or any(
            each is None and not _shows_throughout(self._frames, thing.number)
            for thing, each in did.items()
        ):
            return None
        if not there and self._chance.random() < 0.6:
            return None
        return self._pick(templates), named(there[0]) if there else "nothing"

    def _ask_clip_caption(self) -> tuple[str, str] | None:
        return self._pick(wording.CLIP_CAPTION), describe_clip(self._frames)

    def _ask_drives(self) -> tuple[str, str] | None:
        return self._pick(wording.DRIVES), self._yes(drives(self._frames))

    def _ask_stands(self) -> tuple[str, str] | None:
        return self._pick(wording.STANDS), self._yes(not drives(self._frames))

    # Families

    def _every_presence(self) -> list[tuple[str, str]]:
        absent = self._absent()
        return [
            (self._put(wording.PRESENCE, kind), self._yes(self._counts[kind] > 0))
            for kind in KINDS
            if self._counts[kind] or kind in absent
        ]

    def _every_place(self) -> list[tuple[str, str]]:
        place = self._truth.place
        return [
            (self._pick(wording.PLACE), wording.PLACE_ANSWERS[place]),
            (self._pick(wording.INDOORS), self._yes(place == ROOM)),
            (self._pick(wording.ON_ROAD), self._yes(place == ROAD)),
            (self._pick(wording.IN_THE_OPEN), self._yes(place == YARD)),
        ]

    def _every_count(self) -> list[tuple[str, str]]:
        return [
            (self._put(wording.COUNT, kind), str(self._counts[kind]))
            for kind in KINDS
            if self._counts[kind] and kind not in self._unclear
        ]

    def _every_change(self) -> list[tuple[str, str]]:
        """What was there at first and what is there at the end, kind by kind."""
        made = []
        for kind in KINDS:
            for truth, templates in (
                (self._frames[0], wording.AT_FIRST),
                (self._frames[-1], wording.AT_LAST),
            ):
                of_kind = [thing for thing in truth.things if thing.kind == kind]
                there = any(shows(thing) for thing in of_kind)
                if (of_kind or self._even()) and (there or all(hidden(each) for each in of_kind)):
                    made.append((self._put(templates, kind), self._yes(there)))
        return made

    def _every_drive(self) -> list[tuple[str, str]]:
        return [each for each in (self._ask_drives(), self._ask_stands()) if each is not None]

    def _every_side(self) -> list[tuple[str, str]]:
        made = []
        for thing in self._lone[:3]:
            where = side(thing)
            for asked in SIDES if where is not None else ():
                color = thing.color if self._chance.random() < 0.3 else ""
                templates = wording.SIDE_PRESENCE[asked]
                made.append((self._put(templates, thing.kind, color), self._yes(asked == where)))
        return made

    def _every_color(self) -> list[tuple[str, str]]:
        made = []
        for thing in self._lone[:3]:
            other = self._pick(self._colors(thing.kind, {thing.color}))
            for color in (thing.color, other):
                question = self._put(wording.COLOR_PRESENCE, thing.kind, color)
                made.append((question, self._yes(color == thing.color)))
        return made

    def _every_motion(self) -> list[tuple[str, str]]:
        made = []
        for thing, did in self._movers():
            made.append((self._put(wording.MOTION, thing.kind), wording.MOTIONS[did][0]))
            others = [each for each in self._motions() if each != did]
            wrong = [others[i] for i in self._chance.choice(len(others), 2, replace=False)]
            for asked in (did, *wrong) if did in self._motions() else wrong:
                question = self._put(wording.MOTIONS[asked][2], thing.kind)
                made.append((question, self._yes(asked == did)))
        return made


def _half(kind: str) -> float:
    """How far a thing of a kind reaches from its middle, at most; metres."""
    width, depth, _ = SHAPES[kind].size
    return math.hypot(width, depth) / 2


def _shows_throughout(frames: Sequence[FrameTruth], number: int) -> bool:
    ends = (thing_of(truth, number) for truth in (frames[0], frames[-1]))
    return all(thing is not None and shows(thing) for thing in ends)


_Made = tuple[str, str] | tuple[str, str, str]
_Maker = Callable[[Questioner], _Made | None]
_MAKERS: Mapping[str, _Maker] = {
    "presence": Questioner._ask_presence,
    "color presence": Questioner._ask_color_presence,
    "side presence": Questioner._ask_side_presence,
    "color": Questioner._ask_color,
    "side": Questioner._ask_side,
    "distance": Questioner._ask_distance,
    "count": Questioner._ask_count,
    "what": Questioner._ask_what,
    "nearest": Questioner._ask_nearest,
    "caption": Questioner._ask_caption,
    "place": Questioner._ask_place,
    "json": Questioner._ask_json,
}
_CLIP_MAKERS: Mapping[str, _Maker] = {
    "motion": Questioner._ask_motion,
    "motion check": Questioner._ask_motion_check,
    "appears": Questioner._ask_appears,
    "leaves": Questioner._ask_leaves,
    "clip caption": Questioner._ask_clip_caption,
    "drives": Questioner._ask_drives,
    "stands": Questioner._ask_stands,
}
_FAMILIES: Mapping[str, Callable[[Questioner], list[tuple[str, str]]]] = {
    "every presence": Questioner._every_presence,
    "every side": Questioner._every_side,
    "every color": Questioner._every_color,
    "every place": Questioner._every_place,
    "every count": Questioner._every_count,
    "every change": Questioner._every_change,
    "every drive": Questioner._every_drive,
    "every motion": Questioner._every_motion,
}
TASKS = tuple(_MAKERS)
CLIP_TASKS = tuple(_CLIP_MAKERS)
FAMILIES = tuple(_FAMILIES)
