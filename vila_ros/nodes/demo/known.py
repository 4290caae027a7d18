# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions whose right answers are known: a simulated drive carries its truth.

What is asked, and what is true, comes from the simulation; the node is asked like any other, and
knows nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vila_ros.bags.drive_recording import START_NS
from vila_ros.nodes.demo.questions import DemoQuestion
from vila_ros.perception.types import Sampling
from vila_ros.simulation.drive import ask_about, event_windows
from vila_ros.simulation.questions import CLIP_TASKS, Asked
from vila_ros.simulation.scene import FrameTruth
from vila_ros.simulation.shapes import COLORS, KINDS
from vila_ros.simulation.wording import FAR, MOTIONS, NEAR, SIDES

CLIP_FRAMES = 8
_STAYS = MOTIONS["stays"][0]
# For each event of the drive: how things moved, then two questions about its last picture.
_PLANS = (
    ("motion", "presence", "color"),
    ("motion", "side", "json"),
    ("motion", "color presence", "count"),
    ("motion", "side presence", "nearest"),
)
_OTHERS = ("color", "side", "presence", "count")
_TRIES = 12
_YES_NO = ("yes", "no")
_CHOICES: dict[str, tuple[str, ...]] = {
    "presence": _YES_NO,
    "color presence": _YES_NO,
    "side presence": _YES_NO,
    "motion check": _YES_NO,
    "color": tuple(COLORS),
    "side": SIDES,
    "distance": (NEAR, FAR),
    "count": ("1", "2", "3", "4"),
    "motion": tuple(words[0] for words in MOTIONS.values()),
}
_ENUMS: dict[str, tuple[str, ...]] = {
    "kind": tuple(KINDS),
    "color": tuple(COLORS),
    "side": SIDES,
}


def known_questions(
    truths: Sequence[FrameTruth], seconds: float, seed: int
) -> tuple[DemoQuestion, ...]:
    """Questions about a drive's events and pictures, in the order in which they can be asked.

    truths: of the drive's frames, in time order. Empty where the drive is too short for an event.
    """
    questions: list[DemoQuestion] = []
    for number, (begins, ends) in enumerate(event_windows(seconds)):
        frames = [truth for truth in truths if begins <= _since(truth) <= ends]
        asked: list[Asked] = []
        for task in (*_PLANS[number % len(_PLANS)], *_OTHERS):
            found = _ask(frames, task, seed * 1009 + number * 31)
            if found is not None and all(found.task != other.task for other in asked):
                asked.append(found)
            if len(asked) == len(_PLANS[0]):
                break
        questions += [_put(each, frames) for each in asked]
    return tuple(questions)


def is_right(question: DemoQuestion, text: str) -> bool:
    """Whether an answer says what is true. Of free text it must be a part; JSON must be equal."""
    if question.json_schema:
        try:
            return bool(json.loads(text) == json.loads(question.answer))
        except ValueError:
            return False
    return f" {_words(question.answer)} " in f" {_words(text)} "


def _since(truth: FrameTruth) -> float:
    return (truth.stamp_ns - START_NS) / 1e9


def _ask(frames: Sequence[FrameTruth], task: str, seed: int) -> Asked | None:
    """A question of a kind; of movements rather one than that a thing stays."""
    found = None
    for number in range(_TRIES):
        asked = ask_about(frames, task, seed + number)
        found = found or asked
        if asked is not None and (task != "motion" or asked.answer != _STAYS):
            return asked
    return found


def _put(asked: Asked, frames: Sequence[FrameTruth]) -> DemoQuestion:
    """The question as it is put to the node: about the very frames that its answer is true of."""
    choices = _CHOICES.get(asked.task, ())
    clip = asked.task in CLIP_TASKS
    return DemoQuestion(
        asked.question,
        # What a planner asks goes by the service.
        streamed=choices != _YES_NO,
        start_ns=frames[0 if clip else -1].stamp_ns,
        end_ns=frames[-1].stamp_ns,
        max_frames=CLIP_FRAMES if clip else 1,
        sampling=Sampling.UNIFORM if clip else Sampling.LATEST,
        choices=choices,
        json_schema=_schema(asked.answer) if asked.task == "json" else "",
        max_tokens=48,
        answer=asked.answer,
    )


def _schema(answer: str) -> str:
    """The form of a true answer, with every value that another drive could have."""
    properties: dict[str, object] = {}
    for key, value in json.loads(answer).items():
        if isinstance(value, int):
            properties[key] = {"type": "integer", "minimum": 0, "maximum": 9}
        else:
            properties[key] = {"enum": list(_ENUMS[key])}
    return json.dumps(
        {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))
