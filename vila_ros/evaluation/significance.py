# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a difference between two sets of answers to the same questions is more than chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEAST_BLOCKS = 10
_DRAWN_TOGETHER = 1_000_000  # numbers in memory at once


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """mean: of the differences. low, high: its 95 % interval. p: two-sided, of no difference.
    units: what was drawn, "blocks" or "answers", and how many."""

    mean: float
    low: float
    high: float
    p: float
    units: str
    count: int


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p of McNemar's test (Q. McNemar, Psychometrika 12, 1947): how likely so
    uneven a split of the answers that only one got right is, were both as good."""
    count = only_first + only_second
    if count == 0:
        return 1.0
    least = min(only_first, only_second)
    tail = sum(math.comb(count, k) for k in range(least + 1))
    return min(1.0, 2 * tail / 2**count)


def paired_bootstrap(
    differences: Sequence[float], blocks: Sequence[Hashable], seed: int = 0
) -> Bootstrap:
    """The mean difference, and what it would be with other answers, drawn with replacement
    (B. Efron, Annals of Statistics 7, 1979; the percentile interval).

    blocks: what each answer belongs to. Answers of one moment are alike, so that whole blocks are
    drawn (H. R. Künsch, Annals of Statistics 17, 1989) where there are at least ten of them. The
    same seed gives the same figures.
    """
    values = np.asarray(differences, np.float64)
    if not len(values):
        return Bootstrap(0.0, 0.0, 0.0, 1.0, "answers", 0)
    names = {name: index for index, name in enumerate(dict.fromkeys(blocks))}
    whole = len(names) >= LEAST_BLOCKS
    members = np.array([names[each] for each in blocks]) if whole else np.arange(len(values))
    count = int(members.max()) + 1
    sums = np.bincount(members, values, count)
    sizes = np.bincount(members, minlength=count)
    chance = np.random.default_rng(seed)
    rows = max(1, min(RESAMPLES, _DRAWN_TOGETHER // count))
    means = np.concatenate(
        [
            sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
            for begin in range(0, RESAMPLES, rows)
            if (drawn := chance.integers(0, count, (min(rows, RESAMPLES - begin), count))).size
        ]
    )
    low, high = np.quantile(means, [0.025, 0.975])
    # Twice the smaller share beyond zero; one is added, for no p is 0 (Davison & Hinkley, 1997).
    below = (np.count_nonzero(means <= 0) + 1) / (RESAMPLES + 1)
    above = (np.count_nonzero(means >= 0) + 1) / (RESAMPLES + 1)
    return Bootstrap(
        mean=float(values.mean()),
        low=float(low),
        high=float(high),
        p=float(min(1.0, 2 * min(below, above))),
        units="blocks" if whole else "answers",
        count=count,
    )
