# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What one training sequence asks: tasks mixed by weight, for each stage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vila_ros.simulation.questions import Questioner
from vila_ros.training.nano.sequences import Branch, Packed, Writer
from vila_ros.training.nano.shards import SceneRecord
from vila_ros.training.nano.text import text_only

# How often each task is asked, relative to the others.
PICTURE_TASKS: Mapping[str, float] = {
    "presence": 4.0, "color presence": 2.0, "side presence": 2.0, "color": 3.0, "side": 3.0,
    "distance": 1.0, "count": 4.0, "what": 1.5, "nearest": 0.7, "caption": 1.0, "place": 0.6,
    "json": 1.0,
}  # fmt: skip
MOTION_TASKS: Mapping[str, float] = {
    "motion": 5.0, "motion check": 4.0, "appears": 1.5, "leaves": 1.5, "clip caption": 1.2,
    "drives": 1.0, "presence": 1.5, "color": 1.0, "side": 0.7, "count": 0.7, "caption": 0.0,
}  # fmt: skip
CAPTIONS: Mapping[str, float] = {"caption": 1.0, "clip caption": 0.0}
CLIP_CAPTIONS: Mapping[str, float] = {"caption": 0.0, "clip caption": 1.0}


def sequence_of(
    record: SceneRecord,
    writer: Writer,
    chance: np.random.Generator,
    tasks: Mapping[str, float],
    budget: int,
) -> Packed:
    """A scene's pictures with questions of about `budget` tokens behind them."""
    frames = record.frames
    pictures = list(range(record.first, record.first + len(frames)))
    times = [frame.stamp_ns / 1e9 for frame in frames]
    beginning = writer.beginning(pictures, times, chance)
    asker = Questioner(frames, chance)
    names = list(tasks)
    shares = np.array([tasks[name] for name in names])
    shares = shares / shares.sum()
    branches: list[Branch] = []
    seen: set[str] = set()
    size = 0
    for name in chance.choice(len(names), 60, p=shares):
        asked = asker.ask(names[name])
        if asked is None or asked.question in seen:
            continue
        seen.add(asked.question)
        answer = asked.answer
        if answer in ("yes", "no") and chance.random() < 0.08:
            answer = answer.capitalize()
        weight = 0.5 if "caption" in asked.task else 1.0
        branch = writer.branch(asked.question, answer, weight)
        length = len(branch.asked) + len(branch.answer)
        if branches and size + length > budget:
            break
        branches.append(branch)
        size += length
    return Packed(beginning, tuple(branches))


def text_sequence(writer: Writer, chance: np.random.Generator, budget: int) -> Packed:
    """Text-only instructions of about `budget` tokens."""
    branches: list[Branch] = []
    size = 0
    while size < budget:
        branch = writer.branch(*text_only(chance), image=False)
        size += len(branch.asked) + len(branch.answer)
        branches.append(branch)
    return Packed(writer.text_beginning(), tuple(branches))


def tasks_for(record: SceneRecord, captions: bool) -> Mapping[str, float]:
    """The tasks of a stage: captions alone, or all."""
    if captions:
        return CLIP_CAPTIONS if record.is_clip else CAPTIONS
    return MOTION_TASKS if record.is_clip else PICTURE_TASKS
