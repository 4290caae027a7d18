# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one training sequence asks: tasks mixed by weight, for each stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vila_ros.simulation.questions import Asked, Questioner
from vila_ros.training.nano.sequences import Branch, Packed, Writer
from vila_ros.training.nano.shards import SceneRecord
from vila_ros.training.nano.text import text_only
from vila_ros.training.nano.unseen import unseen_answers

# How often each task is asked, relative to the others.
PICTURE_TASKS: Mapping[str, float] = {
    "presence": 4.0, "color presence": 2.0, "side presence": 2.0, "color": 3.0, "side": 3.0,
    "distance": 1.0, "count": 4.0, "what": 1.5, "nearest": 0.7, "caption": 1.0, "place": 0.6,
    "json": 1.0,
}  # fmt: skip
MOTION_TASKS: Mapping[str, float] = {
    "motion": 5.0, "motion check": 4.0, "appears": 1.5, "leaves": 1.5, "clip caption": 1.2,
    "drives": 0.7, "stands": 0.5, "presence": 1.5, "color": 1.0, "side": 0.7,
    "count": 0.7, "caption": 0.0,
}  # fmt: skip
# Planners that offer "Yes" and "No" are answered by these tokens' probabilities as well.
_CAPITALISED = 0.08
CAPTIONS: Mapping[str, float] = {"caption": 1.0, "clip caption": 0.0}
CLIP_CAPTIONS: Mapping[str, float] = {"caption": 0.0, "clip caption": 1.0}


# Families of questions (see Questioner.ask_every) that a sequence begins with, and how often.
PICTURE_FAMILIES = (
    ("every presence",), ("every side", "every color"), ("every count", "every place"),
    ("every count", "every color"),
)  # fmt: skip
CLIP_FAMILIES = (
    ("every motion",), ("every motion", "every change"), ("every motion", "every drive"),
)  # fmt: skip
_COUNT_WEIGHTS = {"1": 0.7, "2": 1.5, "3": 1.5, "4": 1.7}
FAMILY_SHARE, CLIP_FAMILY_SHARE = 0.6, 0.9
# How many pictures of a clip are read, and how often; all of them where there are fewer.
CLIP_LENGTHS: Mapping[int, float] = {2: 0.25, 3: 0.25, 4: 0.3, 6: 0.1, 8: 0.1}


def sequence_of(
    record: SceneRecord,
    writer: Writer,
    chance: np.random.Generator,
    captions: bool,
    budget: int,
) -> Packed:
    """A scene's pictures with questions of at most `budget` tokens behind them, or one.

    captions: whether it is captions alone that are asked for. A batch is as long as its longest
    sequence, so that one of twice the others' length doubles the cost of all.
    """
    frames = record.frames
    times = [frame.stamp_ns / 1e9 for frame in frames]
    beginning = writer.beginning(record.pictures, times, chance)
    asker = Questioner(frames, chance)
    branches: list[Branch] = []
    size = 0
    for branch in [] if captions else _family_branches(record, asker, writer, chance):
        if size + len(branch) <= budget:
            branches.append(branch)
            size += len(branch)
    tasks = tasks_for(record, captions)
    names = list(tasks)
    shares = np.array([tasks[name] for name in names])
    seen: set[str] = set()
    for index in chance.choice(len(names), 60, p=shares / shares.sum()):
        asked = asker.ask(names[index])
        if asked is None or asked.question in seen:
            continue
        seen.add(asked.question)
        answer = asked.answer
        if answer in ("yes", "no") and chance.random() < _CAPITALISED:
            answer = answer.capitalize()
        branch = writer.branch(asked.question, answer, _weight(asked), unseen=unseen_answers(asked))
        size += len(branch)
        if branches and size > budget:
            break
        branches.append(branch)
    return Packed(beginning, tuple(branches))


def excerpt(record: SceneRecord, length: int, chance: np.random.Generator) -> SceneRecord:
    """A clip's pictures, some left out, and often backwards: a clip of its own."""
    count = len(record.frames)
    kept = np.sort(chance.choice(count, min(length, count), replace=False))
    if chance.random() < 0.6:
        kept[0], kept[-1] = 0, count - 1
    frames = [record.frames[index] for index in kept]
    if chance.random() < 0.5:
        end = frames[-1].stamp_ns
        kept = kept[::-1]
        frames = [replace(each, stamp_ns=end - each.stamp_ns) for each in reversed(frames)]
    return SceneRecord(tuple(record.pictures[index] for index in kept), tuple(frames))


def _family_branches(
    record: SceneRecord, asker: Questioner, writer: Writer, chance: np.random.Generator
) -> list[Branch]:
    """Families of questions, yes and no weighing the same within each, in any order; often none."""
    families = CLIP_FAMILIES if record.is_clip else PICTURE_FAMILIES
    if chance.random() >= (CLIP_FAMILY_SHARE if record.is_clip else FAMILY_SHARE):
        return []
    branches: list[Branch] = []
    for family in families[chance.integers(len(families))]:
        asked = asker.ask_every(family)
        yes = sum(each.answer == "yes" for each in asked)
        no = sum(each.answer == "no" for each in asked)
        denial = min(1.0, yes / no) if yes and no else 1.0
        branches += [
            writer.branch(
                each.question,
                each.answer,
                _weight(each) * (denial if each.answer == "no" else 1.0),
            )
            for each in asked
        ]
    return [branches[index] for index in chance.permutation(len(branches))]


def _weight(asked: Asked) -> float:
    """Of an answer in the loss: captions are long, most numbers are one, motions are hard."""
    if "caption" in asked.task:
        return 0.5
    if "motion" in asked.task:
        return 2.0
    return _COUNT_WEIGHTS.get(asked.answer, 1.0) if "count" in asked.task else 1.0


def text_sequence(writer: Writer, chance: np.random.Generator, budget: int) -> Packed:
    """Text-only instructions of about `budget` tokens."""
    branches: list[Branch] = []
    size = 0
    while size < budget:
        branch = writer.branch(*text_only(chance), image=False)
        size += len(branch)
        branches.append(branch)
    return Packed(writer.text_beginning(), tuple(branches))


def tasks_for(record: SceneRecord, captions: bool) -> Mapping[str, float]:
    """The tasks of a stage: captions alone, or all."""
    if captions:
        return CLIP_CAPTIONS if record.is_clip else CAPTIONS
    return MOTION_TASKS if record.is_clip else PICTURE_TASKS
