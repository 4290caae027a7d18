# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked along a recording, in plain values that cross to a worker process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vila_ros.bags.replay import moments
from vila_ros.engine.interface import EngineSpec
from vila_ros.fleet.types import Task
from vila_ros.perception.types import Question, Sampling


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a question is asked: every so many seconds from the recording's start, or at times.

    every: seconds; 0 for times alone. at: seconds from the start.
    """

    every: float = 0.0
    at: tuple[float, ...] = ()

    def stamps(self, start_ns: int, end_ns: int) -> Iterator[int]:
        """The recording's times, ascending. A time after the end is left out."""
        if self.every:
            yield from moments(start_ns, end_ns, self.every)
        for seconds in sorted(set(self.at)):
            stamp = start_ns + round(seconds * 1e9)
            if stamp <= end_ns:
                yield stamp


@dataclass(frozen=True, slots=True)
class TopicValue:
    """What is true at a moment, read from a topic.

    path: see vila_ros.evaluation.value_path. max_age: seconds between the message and the moment at
    most. origin: "file:line" for messages.
    """

    topic: str
    path: str
    max_age: float = 0.5
    origin: str = ""


@dataclass(frozen=True, slots=True)
class PlannedQuestion:
    """A question and its moments.

    id: unique in the plan. fields: of perception.types.Question, those that are not left to their
    defaults, sampling by its name. only_new: not asked where no frame has come since.
    truths: topics that say what is true, by a name of the caller's.
    """

    id: str
    schedule: Schedule
    fields: Mapping[str, Any]
    only_new: bool = False
    truths: Mapping[str, TopicValue] | None = None

    def question(self, seed: int) -> Question:
        """The question for the Perceiver."""
        values = dict(self.fields)
        if "sampling" in values:
            values["sampling"] = Sampling[values["sampling"].upper()]
        for name in ("cameras", "choices"):
            if name in values:
                values[name] = tuple(values[name])
        return Question(**{"seed": seed, **values})


@dataclass(frozen=True, slots=True)
class AskPlan:
    """What one task asks: all questions whose moments lie in a slice of a recording.

    start_ns, end_ns: the slice, both ends included. origin_ns, last_ns: the recording's own.
    frame_rate: see open_recording. thumbnails: at most so many small pictures are kept, 0 for none.
    """

    recording: str
    engine: EngineSpec
    questions: tuple[PlannedQuestion, ...]
    start_ns: int
    end_ns: int
    origin_ns: int
    last_ns: int
    seed: int = 0
    frame_rate: float | None = None
    thumbnails: int = 0

    def task(self, name: str) -> Task:
        """The plan as a task; its amount is recorded seconds."""
        return Task(name, asdict(self), max(1e-9, (self.end_ns - self.start_ns) / 1e9))

    @property
    def path(self) -> Path:
        """The recording's."""
        return Path(self.recording)


def plan_from(arguments: Mapping[str, Any]) -> AskPlan:
    """The plan of a task."""
    values = {field.name: arguments[field.name] for field in fields(AskPlan)}
    values["engine"] = EngineSpec(**values["engine"])
    values["questions"] = tuple(map(_question_from, values["questions"]))
    return AskPlan(**values)


def _question_from(values: Mapping[str, Any]) -> PlannedQuestion:
    truths = values["truths"]
    schedule = values["schedule"]
    return PlannedQuestion(
        id=values["id"],
        schedule=Schedule(schedule["every"], tuple(schedule["at"])),
        fields=values["fields"],
        only_new=values["only_new"],
        truths=None if truths is None else {k: TopicValue(**v) for k, v in truths.items()},
    )
