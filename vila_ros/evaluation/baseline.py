# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An earlier run's answers, to compare with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.types import ScoredAnswer

ANSWERS = "answers.jsonl"
MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Baseline:
    """name: the folder's. answers: by model. digest: of the file they stand in."""

    name: str
    answers: Mapping[str, Sequence[ScoredAnswer]]
    digest: str

    def for_model(self, model: str) -> tuple[str, Sequence[ScoredAnswer]] | None:
        """The answers to compare a model with: its own, or those of the only one there is."""
        if model in self.answers:
            return f"{self.name}: {model}", self.answers[model]
        if len(self.answers) == 1:
            ((name, answers),) = self.answers.items()
            return f"{self.name}: {name}", answers
        return None


def write_answers(answers: Sequence[ScoredAnswer]) -> str:
    """A line an answer."""
    return "".join(
        json.dumps(asdict(each), sort_keys=True, ensure_ascii=False) + "\n" for each in answers
    )


def read_baseline(folder: Path) -> Baseline:
    """The answers in an output folder of vila evaluate. Raises InvalidRequest."""
    path = folder / ANSWERS
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRequest(f"'{path}' has more than {MAX_BYTES} bytes.")
        data = path.read_bytes()
    except OSError as error:
        raise InvalidRequest(
            f"'{folder}' is no output of vila evaluate: {ANSWERS}: {error.strerror or error}."
        ) from None
    answers: dict[str, list[ScoredAnswer]] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            answer = _answer(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(
                f"'{path}', line {number} is no answer of vila evaluate: {error}."
            ) from None
        answers.setdefault(answer.model, []).append(answer)
    return Baseline(folder.resolve().name, answers, hashlib.sha256(data).hexdigest())


def _answer(row: Mapping[str, Any]) -> ScoredAnswer:
    values = {field.name: row[field.name] for field in fields(ScoredAnswer)}
    values["probabilities"] = tuple(values["probabilities"])
    return ScoredAnswer(**values)
