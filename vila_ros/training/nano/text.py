# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked and told without a picture: the text-only part of the mixture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from vila_ros.simulation.shapes import COLORS, KINDS, SHAPES
from vila_ros.simulation.wording import NAMES, article, listed, sentence

_WHO = (
    "Who are you?",
    "What are you?",
    "What is your name?",
    "Which model are you?",
    "Introduce yourself.",
)
_ME = "I am vila-nano, a small demonstration model for rendered scenes."
# The larger of two kinds first. A ball fills more space than a sign, which is three times as high:
# of such pairs neither is the larger one.
_LARGER = tuple(
    (one, other)
    for one, other in permutations(KINDS, 2)
    if np.prod(SHAPES[one].size) > np.prod(SHAPES[other].size)
    and SHAPES[one].size[2] > SHAPES[other].size[2]
)
_FACTS = (
    ("What is the opposite of left?", "right"),
    ("What is the opposite of right?", "left"),
    ("What is the opposite of near?", "far"),
    ("What is the opposite of yes?", "no"),
    ("What is the opposite of far?", "near"),
    ("What color is grass?", "green"),
    ("What color is snow?", "white"),
    ("What color is coal?", "black"),
    ("What color is the sky on a clear day?", "blue"),
    ("What color is a banana?", "yellow"),
    ("What comes after two?", "three"),
    ("Say hello.", "Hello."),
    ("Hello!", "Hello."),
    ("Thank you.", "You are welcome."),
    ("What should a robot do when a person is ahead?", "stop"),
    ("What should a robot do when nothing is ahead?", "go on"),
)


def text_only(chance: np.random.Generator) -> tuple[str, str]:
    """An instruction and its answer."""
    return _MAKERS[chance.integers(len(_MAKERS))](chance)


def _pick(items: Sequence[str], chance: np.random.Generator) -> str:
    return items[int(chance.integers(len(items)))]


def _fact(chance: np.random.Generator) -> tuple[str, str]:
    return _FACTS[chance.integers(len(_FACTS))]


def _who(chance: np.random.Generator) -> tuple[str, str]:
    return _pick(_WHO, chance), _ME


def _sum(chance: np.random.Generator) -> tuple[str, str]:
    a, b = (int(n) for n in chance.integers(0, 5, 2))
    return f"What is {a} plus {b}?", str(a + b)


def _plural(chance: np.random.Generator) -> tuple[str, str]:
    one, many = NAMES[_pick(KINDS, chance)][0]
    if chance.random() < 0.5:
        return f"What is the plural of {one}?", many
    return f"What is the singular of {many}?", one


def _larger(chance: np.random.Generator) -> tuple[str, str]:
    pair = _LARGER[chance.integers(len(_LARGER))]
    larger = pair[0]
    one, other = pair if chance.random() < 0.5 else reversed(pair)
    return f"Which is larger, {article(one)} or {article(other)}?", larger


def _repeat(chance: np.random.Generator) -> tuple[str, str]:
    thing = article(f"{_pick(COLORS, chance)} {_pick(KINDS, chance)}")
    return f"Repeat: {thing}", thing


def _list(chance: np.random.Generator) -> tuple[str, str]:
    kinds = [str(kind) for kind in chance.choice(KINDS, 1 + chance.integers(4), replace=False)]
    return f"How many words are in this list: {', '.join(kinds)}?", str(len(kinds))


def _in_text(chance: np.random.Generator) -> tuple[str, str]:
    """A question about a described scene, so that the language model binds what it reads."""
    kinds = [str(kind) for kind in chance.choice(KINDS, 2 + chance.integers(2), replace=False)]
    colors = [_pick(COLORS, chance) for _ in kinds]
    sides = [_pick(("on the left", "ahead", "on the right"), chance) for _ in kinds]
    told = sentence(
        listed(
            [
                f"{article(f'{color} {kind}')} {side}"
                for kind, color, side in zip(kinds, colors, sides, strict=True)
            ]
        )
    )
    index = int(chance.integers(len(kinds)))
    kind, color, side = kinds[index], colors[index], sides[index]
    what = int(chance.integers(4))
    if what == 0:
        return f"{told} What color is the {kind}?", color
    if what == 1:
        return f"{told} Where is the {kind}?", side.split()[-1]
    if what == 2:
        asked = kind if chance.random() < 0.5 else _pick(KINDS, chance)
        return f"{told} Is there {article(asked)}?", "yes" if asked in kinds else "no"
    fields = {"kind": kind, "color": color}
    return f"{told} Give kind and color of the {kind} as JSON.", json.dumps(fields)


_MAKERS: tuple[Callable[[np.random.Generator], tuple[str, str]], ...] = (
    _fact, _who, _sum, _plural, _larger, _repeat, _list, _in_text, _in_text, _in_text,
)  # fmt: skip
