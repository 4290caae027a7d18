# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Miners that ask: what the user wants to know, doubt, and disagreement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vila_ros.annotation.asking import NO, YES, Interviewer, YesOrNo
from vila_ros.annotation.cameras import Sight
from vila_ros.annotation.miners import Unmoved
from vila_ros.annotation.types import Reason
from vila_ros.errors import InvalidRequest, Unsupported

_UNKNOWN = 0.75
"""The probability an answer counts with where the runtime gives none."""


class UserQuestions(Unmoved):
    """A Miner of the frames about which a question is answered with yes."""

    def __init__(self, interviewer: Interviewer, questions: Sequence[str]) -> None:
        self._interviewer, self._questions = interviewer, tuple(questions)

    def look(self, sight: Sight) -> Iterable[Reason]:
        """A reason for each question that is answered with yes."""
        for question in self._questions:
            answer = self._interviewer.yes_or_no(sight, question)
            if answer.text == YES:
                yield Reason(
                    "question",
                    f"“{question}” {_told(answer)}",
                    _share(answer),
                    {"question": question, "probability": _rounded(answer)},
                )


class LowConfidence(Unmoved):
    """A Miner of the frames about which the model is in doubt.

    below: the probability of the better answer under which it is, (0.5, 1]. Raises InvalidRequest
    for another; Unsupported if the runtime gives no probabilities.
    """

    def __init__(
        self, interviewer: Interviewer, questions: Sequence[str], below: float = 0.6
    ) -> None:
        if not 0.5 < below <= 1:
            raise InvalidRequest(
                f"the confidence is {below}; of two answers the better one has 0.5 to 1"
            )
        if not interviewer.capabilities.choice_probabilities:
            raise Unsupported(
                f"runtime {interviewer.capabilities.runtime} gives no probabilities, so doubt "
                "cannot be found with it; switch that off, or use runtime torch"
            )
        self._interviewer, self._questions, self._below = interviewer, tuple(questions), below

    def look(self, sight: Sight) -> Iterable[Reason]:
        """A reason for each question that is answered in doubt."""
        for question in self._questions:
            answer = self._interviewer.yes_or_no(sight, question)
            if answer.probability is not None and answer.probability < self._below:
                doubt = (self._below - answer.probability) / (self._below - 0.5)
                yield Reason(
                    "confidence",
                    f"in doubt about “{question}” {_told(answer)}",
                    round(0.3 + 0.5 * min(1.0, doubt), 4),
                    {"question": question, "probability": _rounded(answer)},
                )


class QuestionDisagreement(Unmoved):
    """A Miner of the frames about which two answers do not fit each other.

    pairs: two questions and whether their answers must be the same (True) or opposite (False).
    """

    def __init__(self, interviewer: Interviewer, pairs: Sequence[tuple[str, str, bool]]) -> None:
        self._interviewer, self._pairs = interviewer, tuple(pairs)

    def look(self, sight: Sight) -> Iterable[Reason]:
        """A reason for each pair that does not fit."""
        for first, second, same in self._pairs:
            one = self._interviewer.yes_or_no(sight, first)
            other = self._interviewer.yes_or_no(sight, second)
            if (one.text == other.text) != same and {one.text, other.text} <= {YES, NO}:
                yield Reason(
                    "disagreement",
                    f"“{first}” {_told(one)} does not fit “{second}” {_told(other)}",
                    round(min(_share(one), _share(other)), 4),
                    {"questions": [first, second], "answers": [one.text, other.text]},
                )


class ModelDisagreement(Unmoved):
    """A Miner of the frames about which two models do not agree."""

    def __init__(self, one: Interviewer, other: Interviewer, questions: Sequence[str]) -> None:
        self._one, self._other, self._questions = one, other, tuple(questions)

    def look(self, sight: Sight) -> Iterable[Reason]:
        """A reason for each question that is answered differently."""
        for question in self._questions:
            one = self._one.yes_or_no(sight, question)
            other = self._other.yes_or_no(sight, question)
            if one.text != other.text:
                yield Reason(
                    "disagreement",
                    f"“{question}” {self._one.name} {_told(one)}, "
                    f"{self._other.name} {_told(other)}",
                    round(min(_share(one), _share(other)), 4),
                    {"questions": [question], "answers": [one.text, other.text],
                     "models": [self._one.name, self._other.name]},
                )  # fmt: skip


def _told(answer: YesOrNo) -> str:
    share = f" ({100 * answer.probability:.0f} %)" if answer.probability is not None else ""
    return f"{answer.text}{share}"


def _share(answer: YesOrNo) -> float:
    return round(_UNKNOWN if answer.probability is None else answer.probability, 4)


def _rounded(answer: YesOrNo) -> float | None:
    return None if answer.probability is None else round(answer.probability, 4)
