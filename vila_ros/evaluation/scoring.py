# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers held against what was expected."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vila_ros.evaluation.metrics import first_number, is_number, normalized, token_f1
from vila_ros.evaluation.types import EvaluationQuestion, ScoredAnswer, Source

_LABEL_SECONDS = 0.0015  # times in a file have milliseconds
NOTHING = object()


def score_row(
    question: EvaluationQuestion, row: Mapping[str, Any], model: str, recording: str
) -> ScoredAnswer:
    """Score one row of answers.jsonl."""
    kind = question.expect.kind
    given, expected, score, detail = _SCORES[kind](question, row, recording)
    if row["error"] is not None:
        given = None
        if score is not None:
            score = 0.0
    return ScoredAnswer(
        model=model,
        recording=recording,
        question=question.id,
        stamp_ns=row["stamp_ns"],
        seconds=row["seconds"],
        text=row["json"] or row["text"],
        expected=None if expected is NOTHING else expected,
        given=given,
        score=None if score is None else round(score, 6),
        error="" if row["error"] is None else row["error"]["message"],
        frame=row["frame"],
        probabilities=tuple(row["probabilities"]),
        detail=detail,
    )


Scored = tuple[Any, Any, float | None, dict[str, Any]]


def _text(question: EvaluationQuestion, row: Mapping[str, Any], recording: str) -> Scored:
    given = row["text"].strip()
    expected = expected_value(question.expect.sources[""], row, recording)
    if expected is NOTHING:
        return given, NOTHING, None, {}
    accepted = [str(each) for each in (expected if isinstance(expected, list) else [expected])]
    if not accepted:
        return given, NOTHING, None, {}
    f1 = max(token_f1(given, each) for each in accepted)
    exact = any(normalized(given) == normalized(each) for each in accepted)
    return given, " / ".join(accepted), f1, {"exact": exact, "f1": round(f1, 6)}


def _choice(question: EvaluationQuestion, row: Mapping[str, Any], recording: str) -> Scored:
    choices = question.fields["choices"]
    given = row["text"] if row["text"] in choices else None
    expected = expected_value(question.expect.sources[""], row, recording)
    expected = as_choice(expected, choices)
    if expected is NOTHING:
        return given, NOTHING, None, {}
    return given, expected, float(given == expected), {}


def _number(question: EvaluationQuestion, row: Mapping[str, Any], recording: str) -> Scored:
    given = first_number(row["text"])
    expected = expected_value(question.expect.sources[""], row, recording)
    if not is_number(expected):
        return given, NOTHING, None, {}
    if given is None:
        return None, expected, 0.0, {"off": None}
    off = given - expected
    return given, expected, float(abs(off) <= question.expect.tolerance + 1e-9), {"off": off}


def _fields(question: EvaluationQuestion, row: Mapping[str, Any], recording: str) -> Scored:
    try:
        given = json.loads(row["json"] or row["text"])
    except ValueError:
        given = None
    expected: dict[str, Any] = {}
    for name, source in question.expect.sources.items():
        value = expected_value(source, row, recording)
        if value is not NOTHING:
            expected[name] = value
    if not expected:
        return given, NOTHING, None, {"valid": given is not None}
    right = {name: _same(_inner(given, name), value) for name, value in expected.items()}
    score = sum(right.values()) / len(right)
    return given, expected, score, {"fields": right, "valid": given is not None}


def _event(question: EvaluationQuestion, row: Mapping[str, Any], recording: str) -> Scored:
    """Whether the answer reports the event now; events are scored over a whole recording."""
    reported = normalized(row["text"]) == normalized(question.expect.when)
    state: Any = NOTHING
    if question.expect.sources:
        value = expected_value(question.expect.sources[""], row, recording)
        state = NOTHING if value is NOTHING else _is_true(value, question.expect.when)
    return reported, state, None, {}


_SCORES = {"text": _text, "choice": _choice, "number": _number, "fields": _fields, "event": _event}


def expected_value(source: Source, row: Mapping[str, Any], recording: str) -> Any:
    """What a source says for a row; NOTHING where it says nothing, as a topic does by inf and NaN.

    Bins and a map are asked first: what a sensor calls inf may well be "far".
    """
    if source.labels:
        for name, seconds, value in source.labels:
            if name in ("", recording) and abs(seconds - row["seconds"]) <= _LABEL_SECONDS:
                return value
        return NOTHING
    if source.topic is None:
        return source.constant
    name = truth_name(source)
    if name not in row["truth"]:
        return NOTHING
    value = row["truth"][name]
    if value is None:
        return NOTHING
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if source.bins is not None:
        found = source.bins.choice(value) if number else None
        return NOTHING if found is None else found
    if source.mapping is not None:
        return source.mapping.get(_written(value), NOTHING)
    return NOTHING if number and not is_number(value) else value


def truth_name(source: Source) -> str:
    """The name by which a task calls what a topic says."""
    assert source.topic is not None
    return f"{source.topic.topic} {source.topic.path}"


def as_choice(value: Any, choices: list[str]) -> Any:
    """An expected value as one of the choices; true and false are yes and no where these are."""
    if value is NOTHING:
        return NOTHING
    text = _written(value)
    if text in choices:
        return text
    if isinstance(value, bool):
        for choice in choices:
            if choice.lower() == ("yes" if value else "no"):
                return choice
    return NOTHING


def _is_true(value: Any, when: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value != 0
    return normalized(str(value)) == normalized(when)


def _written(value: Any) -> str:
    """As YAML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _inner(value: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return NOTHING
        value = value[name]
    return value


def _same(given: Any, expected: Any) -> bool:
    if given is NOTHING:
        return False
    if isinstance(expected, bool) or isinstance(given, bool):
        return given is expected
    if is_number(expected) and is_number(given):
        return abs(given - expected) <= 1e-6 * max(1.0, abs(expected))
    if isinstance(expected, str) and isinstance(given, str):
        return normalized(given) == normalized(expected)
    return bool(given == expected)
