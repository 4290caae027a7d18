# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation asks, expects and finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vila_ros.evaluation.plan import Schedule, TopicValue

Kind = Literal["text", "choice", "number", "fields", "event"]
KINDS: tuple[Kind, ...] = ("text", "choice", "number", "fields", "event")

METRICS: Mapping[Kind, tuple[str, ...]] = {
    "text": ("f1", "exact"),
    "choice": ("accuracy", "calibration_error", "brier"),
    "number": ("within", "understood", "mean_absolute_error", "root_mean_square_error", "bias"),
    "fields": ("all_right", "fields_right", "valid_json"),
    "event": ("f1", "precision", "recall", "delay"),
}
"""What is measured for each kind; the first is the headline."""
COMMON_METRICS = ("answered",)
TIMING_METRICS = ("latency_p50", "latency_p95", "latency_p99", "tokens_per_second")


@dataclass(frozen=True, slots=True)
class Bins:
    """Numbers as choices: a choice for low <= number < high; None is without end."""

    choices: tuple[tuple[str, float | None, float | None], ...]

    def choice(self, number: float) -> str | None:
        """The first choice whose range holds the number."""
        for name, low, high in self.choices:
            if (low is None or number >= low) and (high is None or number < high):
                return name
        return None


@dataclass(frozen=True, slots=True)
class Source:
    """Where an expected value comes from: the file itself, or a topic.

    constant: the value, where it is the same at every moment. labels: (recording or "", seconds,
    value) of single moments. topic: read at each moment; bins and mapping turn what it says into
    what is expected.
    """

    constant: Any = None
    labels: tuple[tuple[str, float, Any], ...] = ()
    topic: TopicValue | None = None
    bins: Bins | None = None
    mapping: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What answers are held against.

    sources: one, named "", or one a field of a JSON answer. tolerance: by how much a number may be
    off, or seconds by which an event may. when: the answer that reports an event. at: times of the
    events, (recording or "", seconds), where no topic tells them.
    """

    kind: Kind
    sources: Mapping[str, Source]
    tolerance: float = 0.0
    when: str = ""
    at: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationQuestion:
    """A question of a file. line: where it stands. fields: see PlannedQuestion.
    recordings: patterns of the recordings it is asked of; empty for all."""

    id: str
    line: int
    fields: Mapping[str, Any]
    schedule: Schedule
    expect: Expectation
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """What must hold: question (or "all") metric comparison number. text: as it was written."""

    question: str
    metric: str
    comparison: str
    limit: float
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """A question file that was read."""

    name: str
    title: str
    questions: tuple[EvaluationQuestion, ...]
    thresholds: tuple[Threshold, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """An answer held against what was expected.

    recording, model: their names. given: what was understood of the answer, None where nothing was.
    score: 0 to 1, None where nothing is expected or it is scored with others (events). detail: for
    people and metrics, by kind.
    """

    model: str
    recording: str
    question: str
    stamp_ns: int
    seconds: float
    text: str
    expected: Any
    given: Any
    score: float | None
    error: str = ""
    frame: str = ""
    probabilities: tuple[float, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
