# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From scored answers to metrics, a question at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vila_ros.evaluation.metrics import (
    CalibrationBin,
    EventMatch,
    Proportion,
    brier,
    calibration,
    match_events,
    onsets,
    wilson,
)
from vila_ros.evaluation.types import METRICS, EvaluationQuestion, ScoredAnswer


@dataclass(frozen=True)
class QuestionSummary:
    """What the answers of one model to one question are worth.

    asked, scored, failed: answers; scored are those for which something is expected. values: metric
    -> value, None where it cannot be told. intervals: metric -> 95 % interval where there is one.
    confusion: (expected, given) -> count. matches: recording -> events.
    """

    question: str
    kind: str
    asked: int
    scored: int
    failed: int
    values: dict[str, float | None]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    confusion: dict[tuple[str, str], int] = field(default_factory=dict)
    bins: list[CalibrationBin] = field(default_factory=list)
    matches: dict[str, EventMatch] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The metric that stands for the question."""
        return METRICS[self.kind][0]  # type: ignore[index]


def summarize(question: EvaluationQuestion, answers: Sequence[ScoredAnswer]) -> QuestionSummary:
    """The metrics of one question's answers by one model."""
    failed = sum(bool(each.error) for each in answers)
    scored = [each for each in answers if each.score is not None]
    kind = question.expect.kind
    summary = QuestionSummary(
        question=question.id,
        kind=kind,
        asked=len(answers),
        scored=len(scored),
        failed=failed,
        values=dict.fromkeys(METRICS[kind]),
    )
    _put(summary, "answered", wilson(len(answers) - failed, len(answers)))
    _SUMMARIES[kind](summary, question, scored if kind != "event" else list(answers))
    return summary


def _put(summary: QuestionSummary, name: str, proportion: Proportion) -> None:
    if proportion.trials:
        summary.values[name] = proportion.rate
        summary.intervals[name] = (proportion.low, proportion.high)
    else:
        summary.values[name] = None


def _text(
    summary: QuestionSummary, question: EvaluationQuestion, scored: list[ScoredAnswer]
) -> None:
    right = sum(bool(each.detail.get("exact")) and not each.error for each in scored)
    _put(summary, "exact", wilson(right, len(scored)))
    summary.values["f1"] = _mean([each.score or 0.0 for each in scored])


def _choice(
    summary: QuestionSummary, question: EvaluationQuestion, scored: list[ScoredAnswer]
) -> None:
    choices = list(question.fields["choices"])
    right = [each.score == 1.0 for each in scored]
    _put(summary, "accuracy", wilson(sum(right), len(scored)))
    for each in scored:
        pair = (str(each.expected), "-" if each.given is None else str(each.given))
        summary.confusion[pair] = summary.confusion.get(pair, 0) + 1
    sure = [each for each in scored if len(each.probabilities) == len(choices)]
    if sure:
        hits = [each.score == 1.0 for each in sure]
        error, bins = calibration([max(each.probabilities) for each in sure], hits)
        summary.values["calibration_error"] = error
        summary.bins.extend(bins)
        summary.values["brier"] = brier(
            [each.probabilities for each in sure], [choices.index(each.expected) for each in sure]
        )


def _number(
    summary: QuestionSummary, question: EvaluationQuestion, scored: list[ScoredAnswer]
) -> None:
    within = sum(each.score == 1.0 for each in scored)
    _put(summary, "within", wilson(within, len(scored)))
    off = [each.detail["off"] for each in scored if each.detail.get("off") is not None]
    _put(summary, "understood", wilson(len(off), len(scored)))
    if off:
        summary.values["mean_absolute_error"] = _mean([abs(each) for each in off])
        summary.values["root_mean_square_error"] = math.sqrt(
            sum(each * each for each in off) / len(off)
        )
        summary.values["bias"] = _mean(off)


def _fields(
    summary: QuestionSummary, question: EvaluationQuestion, scored: list[ScoredAnswer]
) -> None:
    _put(summary, "all_right", wilson(sum(each.score == 1.0 for each in scored), len(scored)))
    _put(summary, "valid_json", wilson(sum(each.detail["valid"] for each in scored), len(scored)))
    summary.values["fields_right"] = _mean([each.score or 0.0 for each in scored])
    for name in question.expect.sources:
        held = [each.detail["fields"][name] for each in scored if name in each.detail["fields"]]
        _put(summary, f"field {name}", wilson(sum(held), len(held)))


def _event(
    summary: QuestionSummary, question: EvaluationQuestion, answers: list[ScoredAnswer]
) -> None:
    hits = missed = spurious = 0
    delays = []
    for recording in dict.fromkeys(each.recording for each in answers):
        match = event_match(question, [each for each in answers if each.recording == recording])
        if match is None:
            continue
        summary.matches[recording] = match
        hits += len(match.pairs)
        missed += len(match.missed)
        spurious += len(match.spurious)
        delays += [reported - expected for expected, reported in match.pairs]
    _put(summary, "precision", wilson(hits, hits + spurious))
    _put(summary, "recall", wilson(hits, hits + missed))
    if hits + missed + spurious:
        summary.values["f1"] = 2 * hits / (2 * hits + missed + spurious)
    summary.values["delay"] = _mean(delays)


def event_match(question: EvaluationQuestion, answers: Sequence[ScoredAnswer]) -> EventMatch | None:
    """Events of one recording; None where nothing is known of it."""
    ordered = sorted(answers, key=lambda each: each.stamp_ns)
    # An answer that failed says neither that it goes on nor that it ended.
    reported = onsets([(each.seconds, bool(each.given)) for each in ordered if not each.error])
    if question.expect.sources:
        states = [each for each in ordered if each.expected is not None]
        if not states:
            return None
        expected = onsets([(each.seconds, bool(each.expected)) for each in states])
    else:
        recording = ordered[0].recording
        times = question.expect.at
        expected = [seconds for name, seconds in times if name in ("", recording)]
        if not expected and times:
            return None
    return match_events(expected, reported, question.expect.tolerance)


_SUMMARIES: dict[str, Any] = {
    "text": _text,
    "choice": _choice,
    "number": _number,
    "fields": _fields,
    "event": _event,
}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
