# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two sets of answers to the same questions: of two models, or of now and an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vila_ros.evaluation.significance import Bootstrap, mcnemar, paired_bootstrap
from vila_ros.evaluation.summary import event_match
from vila_ros.evaluation.types import EvaluationQuestion, ScoredAnswer

BLOCK_NS = 10_000_000_000
"""Answers within ten seconds of a recording are drawn together, for they are alike."""
SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Comparison:
    """first, second: names. pairs: answers of both to the same moment. only_first, only_second:
    those that one alone got entirely right. mcnemar_p: of that split. bootstrap: of second's score
    minus first's. verdict: "better", "worse" (second against first) or "no difference shown"."""

    question: str
    first: str
    second: str
    pairs: int
    only_first: int
    only_second: int
    mcnemar_p: float
    bootstrap: Bootstrap
    verdict: str


def compare(
    question: EvaluationQuestion,
    first: Sequence[ScoredAnswer],
    second: Sequence[ScoredAnswer],
    names: tuple[str, str],
) -> Comparison | None:
    """Pair by recording and moment; None where there is no pair that was scored."""
    scores = [
        _scores(question, [each for each in answers if each.question == question.id])
        for answers in (first, second)
    ]
    keys = [key for key in scores[0] if key in scores[1]]
    if not keys:
        return None
    pairs = [(scores[0][key], scores[1][key]) for key in keys]
    only_first = sum(a == 1.0 and b < 1.0 for a, b in pairs)
    only_second = sum(b == 1.0 and a < 1.0 for a, b in pairs)
    bootstrap = paired_bootstrap(
        [b - a for a, b in pairs], [(recording, at // BLOCK_NS) for recording, at in keys]
    )
    # A difference counts where both the interval and the split of the answers show it; a text's
    # score is rarely entirely right, so there the interval decides alone.
    p = (
        bootstrap.p
        if question.expect.kind in ("text", "fields")
        else max(bootstrap.p, mcnemar(only_first, only_second))
    )
    verdict = "no difference shown"
    if p < SIGNIFICANT:
        verdict = "better" if bootstrap.mean > 0 else "worse"
    return Comparison(
        question=question.id,
        first=names[0],
        second=names[1],
        pairs=len(pairs),
        only_first=only_first,
        only_second=only_second,
        mcnemar_p=mcnemar(only_first, only_second),
        bootstrap=bootstrap,
        verdict=verdict,
    )


def _scores(
    question: EvaluationQuestion, answers: Sequence[ScoredAnswer]
) -> dict[tuple[str, int], float]:
    """Scores by recording and time; of events, whether each that was expected was reported."""
    if question.expect.kind != "event":
        return {
            (each.recording, each.stamp_ns): each.score
            for each in answers
            if each.score is not None
        }
    found: dict[tuple[str, int], float] = {}
    for recording in dict.fromkeys(each.recording for each in answers):
        match = event_match(question, [each for each in answers if each.recording == recording])
        if match is not None:
            for expected, _ in match.pairs:
                found[recording, round(expected * 1e9)] = 1.0
            for expected in match.missed:
                found[recording, round(expected * 1e9)] = 0.0
    return dict(sorted(found.items()))
