# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers that training scenes cannot bear out: those with the colours that are held out.

That no car was orange says nothing about cars to come, as nobody would have shown one. Answers'
losses leave the held-out colour's word out, so that it is not denied wherever its kind is met.
"""

from __future__ import annotations

import re

from vila_ros.simulation.questions import Asked
from vila_ros.simulation.scenes import HELD_OUT
from vila_ros.simulation.shapes import COLORS, KINDS
from vila_ros.simulation.wording import article

_COLOR = "|".join(COLORS)
_ANY_COLOR = re.compile(rf"\b({_COLOR})\b")
_THING = re.compile(rf"\b(an?|another) ({_COLOR}) ({'|'.join(KINDS)})\b", re.IGNORECASE)


def unseen_answers(asked: Asked) -> tuple[str, ...]:
    """The answer with a thing's colour replaced by its kind's held-out one; one for each thing."""
    answer = asked.answer
    found = []
    if asked.kind and (color := _ANY_COLOR.search(answer)):
        found.append(answer[: color.start()] + HELD_OUT[asked.kind] + answer[color.end() :])
    for thing in _THING.finditer(answer):
        named = f"{HELD_OUT[thing[3]]} {thing[3]}"
        named = f"another {named}" if thing[1].lower() == "another" else article(named)
        if thing[1][0].isupper():
            named = named.capitalize()
        found.append(answer[: thing.start()] + named + answer[thing.end() :])
    return tuple(each for each in found if each != answer)
