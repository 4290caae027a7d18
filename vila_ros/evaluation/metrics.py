# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What answers are worth: the formulas, each with its source."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

_Z95 = 1.959963984540054  # the standard normal's 97.5 % quantile
_LARGEST = 1e150  # its square, as in a root mean square error, is still a finite float
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen", "twenty"),
)
_NUMBER_WORDS = {
    **{word: float(value) for value, word in enumerate(_WORDS)},
    **{"no": 0.0, "none": 0.0, "nobody": 0.0, "single": 1.0},
}


@dataclass(frozen=True, slots=True)
class Proportion:
    """Successes of trials, and the interval in which the true rate lies with 95 % confidence."""

    successes: int
    trials: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Successes by trials; 0 without any."""
        return self.successes / self.trials if self.trials else 0.0


def wilson(successes: int, trials: int) -> Proportion:
    """Wilson's score interval (E. B. Wilson, JASA 22, 1927, p. 209), which holds for few trials and
    for rates near 0 and 1. (0, 1) without trials."""
    if trials == 0:
        return Proportion(0, 0, 0.0, 1.0)
    rate, z2 = successes / trials, _Z95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    spread = math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2))
    half = _Z95 * spread / (1 + z2 / trials)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Proportion(successes, trials, low, high)


def normalized(text: str) -> str:
    """Lower case without punctuation, articles and spare spaces, as SQuAD's evaluation script
    (Rajpurkar et al., EMNLP 2016) compares answers."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(given: str, expected: str) -> float:
    """Harmonic mean of precision and recall of the words, counted as a bag (Rajpurkar et al.)."""
    left, right = normalized(given).split(), normalized(expected).split()
    if not left or not right:
        return float(left == right)
    common = sum((Counter(left) & Counter(right)).values())
    return 2 * common / (len(left) + len(right))


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether it can be reckoned with: neither inf nor NaN, nor so large that its square is inf.

    Range sensors say inf for "nothing there" (REP 117), drivers the largest float for "not known".
    """
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and abs(value) <= _LARGEST


def first_number(text: str) -> float | None:
    """The first number of a text, in digits or as an English word up to twenty; None without.

    What is_number() refuses is none: a model that repeats one digit has given no answer.
    """
    found = [
        (match.start(), number)
        for match in _NUMBER.finditer(text)
        if is_number(number := float(match[0].replace(",", "")))
    ]
    found += [
        (match.start(), _NUMBER_WORDS[match[0]])
        for match in re.finditer(r"[a-z]+", text.lower())
        if match[0] in _NUMBER_WORDS
    ]
    return min(found)[1] if found else None


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Answers whose confidence lies in [low, high): how many, how sure and how right they were."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def calibration(
    confidences: Sequence[float], right: Sequence[bool], bins: int = 10
) -> tuple[float, list[CalibrationBin]]:
    """Expected calibration error over bins of equal width (Guo et al., ICML 2017, eq. 5), and the
    bins that hold answers. 0 without answers."""
    filled = []
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        members = [
            (confidence, hit)
            for confidence, hit in zip(confidences, right, strict=True)
            if low <= confidence < high or (number == bins - 1 and confidence >= 1.0)
        ]
        if members:
            count = len(members)
            filled.append(
                CalibrationBin(
                    low,
                    high,
                    count,
                    sum(confidence for confidence, _ in members) / count,
                    sum(hit for _, hit in members) / count,
                )
            )
    total = sum(each.count for each in filled)
    error = sum(each.count * abs(each.confidence - each.accuracy) for each in filled)
    return (error / total if total else 0.0), filled


def brier(probabilities: Sequence[Sequence[float]], right: Sequence[int]) -> float:
    """Brier's score of probabilities for several classes (G. W. Brier, Monthly Weather Review 78,
    1950), 0 for the best and 2 for the worst. right: the index of the true class."""
    if not right:
        return 0.0
    total = 0.0
    for row, true in zip(probabilities, right, strict=True):
        total += sum((p - (index == true)) ** 2 for index, p in enumerate(row))
    return total / len(right)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share (0 to 1) of the values lies, interpolated linearly between
    neighbours (Hyndman & Fan, 1996, type 7). NaN without values."""
    if not values:
        return math.nan
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True, slots=True)
class EventMatch:
    """Events that were expected against events that were reported; seconds.

    pairs: (expected, reported) of the same event.
    """

    pairs: tuple[tuple[float, float], ...]
    missed: tuple[float, ...]
    spurious: tuple[float, ...]


def match_events(
    expected: Sequence[float], reported: Sequence[float], tolerance: float
) -> EventMatch:
    """Pair events that are at most `tolerance` seconds apart, as many as possible, each once.

    Both sorted, the earliest reported that fits is taken for each expected; for intervals of one
    length this greedy choice pairs the most (interval scheduling).
    """
    waiting = sorted(reported)
    pairs, missed, spurious = [], [], []
    index = 0
    for time in sorted(expected):
        while index < len(waiting) and waiting[index] < time - tolerance - 1e-9:
            spurious.append(waiting[index])
            index += 1
        if index < len(waiting) and waiting[index] <= time + tolerance + 1e-9:
            pairs.append((time, waiting[index]))
            index += 1
        else:
            missed.append(time)
    spurious += waiting[index:]
    return EventMatch(tuple(pairs), tuple(missed), tuple(spurious))


def onsets(states: Sequence[tuple[float, bool]]) -> list[float]:
    """Times at which something begins: true, and not true at the moment before."""
    found = []
    before = False
    for time, state in states:
        if state and not before:
            found.append(time)
        before = state
    return found
