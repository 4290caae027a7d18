# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that an evaluation found, for machines and for the report."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

from vila_ros.evaluation.baseline import Baseline
from vila_ros.evaluation.comparison import Comparison, compare
from vila_ros.evaluation.metrics import percentile
from vila_ros.evaluation.summary import QuestionSummary, summarize
from vila_ros.evaluation.types import (
    TIMING_METRICS,
    QuestionFile,
    ScoredAnswer,
    Threshold,
)

FORMAT = 1
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Timings = Mapping[str, Mapping[str, Mapping[str, float]]]
"""model -> question or "all" -> metric -> seconds, or tokens a second."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A threshold of one model. value: what was measured, None where nothing was."""

    threshold: Threshold
    model: str
    value: float | None
    holds: bool


@dataclass(frozen=True)
class Results:
    """summaries: by model and question. spans: recordings' first and last stamps."""

    questions: QuestionFile
    spans: Mapping[str, tuple[int, int]]
    engines: Mapping[str, tuple[str, str]]
    answers: Sequence[ScoredAnswer]
    summaries: Mapping[str, Mapping[str, QuestionSummary]]
    comparisons: Sequence[Comparison]
    baseline: str = ""
    timings: Timings | None = None
    verdicts: Sequence[Verdict] = ()

    @property
    def passed(self) -> bool:
        """Whether all thresholds hold."""
        return all(verdict.holds for verdict in self.verdicts)

    @classmethod
    def of(
        cls,
        questions: QuestionFile,
        spans: Mapping[str, tuple[int, int]],
        answers: Sequence[ScoredAnswer],
        engines: Mapping[str, tuple[str, str]],
        baseline: Baseline | None = None,
    ) -> Results:
        """Summaries and comparisons of scored answers."""
        by_model: dict[str, list[ScoredAnswer]] = {}
        for each in answers:
            by_model.setdefault(each.model, []).append(each)
        summaries = {
            model: {
                question.id: summarize(question, [a for a in own if a.question == question.id])
                for question in questions.questions
            }
            for model, own in by_model.items()
        }
        comparisons: list[Comparison] = []
        for question in questions.questions:
            pairs: list[tuple[str, Sequence[ScoredAnswer], str, Sequence[ScoredAnswer]]] = [
                (first, by_model[first], second, by_model[second])
                for first, second in combinations(by_model, 2)
            ]
            for model, own in by_model.items():
                if baseline is not None and (earlier := baseline.for_model(model)) is not None:
                    pairs.append((*earlier, model, own))
            for first, before, second, after in pairs:
                found = compare(question, before, after, (first, second))
                if found is not None:
                    comparisons.append(found)
        name = baseline.name if baseline else ""
        return cls(questions, spans, engines, answers, summaries, comparisons, name)

    def judged(self, timings: Timings) -> Results:
        """The same with its thresholds held against what was measured."""
        verdicts = [
            self._verdict(threshold, model, timings)
            for threshold in self.questions.thresholds
            for model in self.summaries
        ]
        return replace(self, timings=timings, verdicts=verdicts)

    def _verdict(self, threshold: Threshold, model: str, timings: Timings) -> Verdict:
        if threshold.metric in TIMING_METRICS:
            value = timings.get(model, {}).get(threshold.question, {}).get(threshold.metric)
        elif threshold.question == "all":
            own = self.summaries[model].values()
            asked = sum(each.asked for each in own)
            value = (asked - sum(each.failed for each in own)) / asked if asked else None
        else:
            value = self.summaries[model][threshold.question].values.get(threshold.metric)
        holds = value is not None and _COMPARE[threshold.comparison](value, threshold.limit)
        return Verdict(threshold, model, value, holds)

    def lasting(self) -> list[Verdict]:
        """The verdicts that do not depend on how fast the machine is."""
        return [each for each in self.verdicts if each.threshold.metric not in TIMING_METRICS]

    def to_json(self) -> dict[str, Any]:
        """What is the same each time the same model answers the same questions."""
        return {
            "format": FORMAT,
            "title": self.questions.title,
            "questions_file": self.questions.name,
            "baseline": self.baseline,
            "recordings": {
                name: {"start_ns": start, "end_ns": end, "seconds": round((end - start) / 1e9, 3)}
                for name, (start, end) in self.spans.items()
            },
            "models": {
                name: {"model": model, "runtime": runtime}
                for name, (model, runtime) in self.engines.items()
            },
            "questions": [
                {
                    "id": each.id,
                    "line": each.line,
                    "kind": each.expect.kind,
                    "ask": each.fields["prompt"],
                }
                for each in self.questions.questions
            ],
            "metrics": {
                model: {name: _summary(summary) for name, summary in own.items()}
                for model, own in self.summaries.items()
            },
            "comparisons": [
                {**asdict(each), "bootstrap": _rounded(asdict(each.bootstrap))}
                for each in self.comparisons
            ],
            "thresholds": [_verdict(each) for each in self.lasting()],
            "passed": all(each.holds for each in self.lasting()),
        }

    def timings_json(self) -> dict[str, Any]:
        """How fast it was, which differs each time."""
        verdicts = [each for each in self.verdicts if each.threshold.metric in TIMING_METRICS]
        return {
            "format": FORMAT,
            "seconds": self.timings,
            "thresholds": [_verdict(each) for each in verdicts],
            "passed": all(each.holds for each in verdicts),
        }


def timing_summary(rows: Sequence[tuple[str, str, Mapping[str, float]]]) -> Timings:
    """Percentiles of the answers' seconds, from the engine's begin to the last token, and tokens a
    second; for each model and question, and "all"."""
    grouped: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for model, question, row in rows:
        for name in (question, "all"):
            grouped.setdefault(model, {}).setdefault(name, []).append(row)
    return {
        model: {name: _timing(own) for name, own in questions.items()}
        for model, questions in grouped.items()
    }


def _timing(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    totals = [row["total"] for row in rows]
    first = [row["first_token"] for row in rows if row["first_token"] > 0]
    speeds = [row["tokens_per_second"] for row in rows if row["tokens_per_second"] > 0]
    figures = {
        "answers": float(len(rows)),
        "latency_p50": percentile(totals, 0.5),
        "latency_p95": percentile(totals, 0.95),
        "latency_p99": percentile(totals, 0.99),
    }
    if first:
        figures["first_token_p50"] = percentile(first, 0.5)
    if speeds:
        figures["tokens_per_second"] = percentile(speeds, 0.5)
    return {name: round(value, 6) for name, value in figures.items()}


def _summary(summary: QuestionSummary) -> dict[str, Any]:
    return {
        "kind": summary.kind,
        "asked": summary.asked,
        "scored": summary.scored,
        "failed": summary.failed,
        "metrics": _rounded(summary.values),
        "intervals": {
            name: [round(low, 6), round(high, 6)] for name, (low, high) in summary.intervals.items()
        },
        "confusion": [
            {"expected": expected, "given": given, "count": count}
            for (expected, given), count in sorted(summary.confusion.items())
        ],
        "calibration": [_rounded(asdict(each)) for each in summary.bins],
        "events": {
            name: {
                "hits": len(match.pairs),
                "missed": list(match.missed),
                "spurious": list(match.spurious),
            }
            for name, match in summary.matches.items()
        },
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    value = verdict.value
    return {
        "threshold": verdict.threshold.text,
        "line": verdict.threshold.line,
        "model": verdict.model,
        "value": None if value is None else round(value, 6),
        "holds": verdict.holds,
    }


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in values.items()
    }
