# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What happened in a demonstration: what was described, asked and answered, with its frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vila_ros.nodes.demo.client import Part
from vila_ros.nodes.demo.known import is_right
from vila_ros.nodes.demo.questions import DemoQuestion, nanoseconds
from vila_ros.simulation.captions import describe_clip
from vila_ros.simulation.scene import FrameTruth

FrameKey = tuple[str, int]
"""A frame: camera and stamp in nanoseconds."""


@dataclass(frozen=True)
class Described:
    """A scene description. truth: what a simulated drive says of the same frames, or empty."""

    text: str
    frames: tuple[FrameKey, ...]
    total_time: float
    truth: str


@dataclass(frozen=True)
class Answered:
    """A question's end; result is an Ask.Result or a Query.Response.

    faults: what is wrong with its frames, form or code. right: whether it says what is true; None
    where nobody knows.
    """

    question: DemoQuestion
    result: Any
    faults: tuple[str, ...]
    right: bool | None

    @property
    def frames(self) -> tuple[FrameKey, ...]:
        """The frames that the answer is based on."""
        return keys_of(self.result.frames)


@dataclass
class Record:
    """Everything that a demonstration brought, as it comes. truths: of a simulated drive."""

    truths: Mapping[int, FrameTruth] = field(default_factory=dict)
    described: list[Described] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    diagnostics: list[Part] = field(default_factory=list)

    def add_description(self, message: Any) -> Described:
        """Take a SceneDescription."""
        frames = keys_of(message.frames)
        known = [self.truths[stamp] for _, stamp in frames if stamp in self.truths]
        truth = describe_clip(known) if known and len(known) == len(frames) else ""
        self.described.append(Described(message.text, frames, message.stats.total_time, truth))
        return self.described[-1]

    def add_answer(self, question: DemoQuestion, result: Any, faults: Iterable[str]) -> Answered:
        """Take the end of a question."""
        right = None
        if question.answer:
            said = result.json if question.json_schema else result.text
            right = not result.error_code and is_right(question, said)
        self.answered.append(Answered(question, result, tuple(faults), right))
        return self.answered[-1]

    @property
    def sound(self) -> int:
        """Questions that ended as they should, about the frames that they were asked about."""
        return sum(not each.faults for each in self.answered)

    @property
    def known(self) -> int:
        """Questions whose right answers are known."""
        return sum(each.right is not None for each in self.answered)

    @property
    def right(self) -> int:
        """Of these, those that were answered right."""
        return sum(bool(each.right) for each in self.answered)


def keys_of(frames: Iterable[Any]) -> tuple[FrameKey, ...]:
    """FrameRef messages as keys."""
    return tuple((frame.camera, nanoseconds(frame.stamp)) for frame in frames)
