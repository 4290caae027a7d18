# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The formulas against published values, and against other implementations where these are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vila_ros.evaluation.metrics import (
    brier,
    calibration,
    first_number,
    match_events,
    normalized,
    onsets,
    percentile,
    token_f1,
    wilson,
)
from vila_ros.evaluation.significance import mcnemar, paired_bootstrap


def test_wilsons_interval():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20.
    for hits, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = wilson(hits, trials)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert (wilson(0, 20).low, round(wilson(0, 20).high, 4)) == (0.0, 0.1611)
    assert wilson(20, 20).high == 1.0
    assert (wilson(0, 0).low, wilson(0, 0).high, wilson(0, 0).rate) == (0.0, 1.0, 0.0)


def test_mcnemars_exact_p():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(2, 8) == pytest.approx(0.109375)
    # As scipy.stats.binomtest(few, few + many).pvalue has them.
    for few, many, p in ((3, 11, 0.057373046875), (0, 9, 0.00390625)):
        assert mcnemar(few, many) == pytest.approx(p)


def test_the_bootstraps_interval_holds_the_mean_as_often_as_it_says():
    chance = np.random.default_rng(1)
    held = 0
    for trial in range(60):
        found = paired_bootstrap(chance.normal(0.3, 1.0, 80).tolist(), range(80), seed=trial)
        held += found.low <= 0.3 <= found.high
    assert held >= 51  # 57 are expected
    assert found.units == "blocks"


def test_the_bootstrap_is_the_same_each_time_and_sees_a_difference():
    worse = [0.0, 0.0, -1.0, 0.0] * 10
    first, again = (paired_bootstrap(worse, range(40)) for _ in range(2))
    assert first == again
    assert first.high < 0
    assert first.p < 0.05
    none = paired_bootstrap([0.0] * 40, range(40))
    assert (none.mean, none.p) == (0.0, 1.0)
    assert paired_bootstrap([], []).count == 0


def test_answers_that_are_alike_count_as_one():
    """The same four answers ten times over tell no more than four."""
    values, blocks = [1.0, -0.6, 0.9, -0.2, 0.4, 0.6, -0.5, 0.7, 0.1, 0.3, 0.2, -0.1], range(12)
    alone = paired_bootstrap(values, list(blocks))
    repeated = paired_bootstrap(values * 10, list(blocks) * 10)
    apart = paired_bootstrap(values * 10, range(120))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    assert apart.high - apart.low < (alone.high - alone.low) / 2


@pytest.mark.parametrize(
    ("given", "expected", "f1"),
    [
        ("The Norman dynasty!", "norman dynasty", 1.0),
        ("a red car", "a blue car", 0.5),
        ("three cars and a bus", "bus", 0.4),
        ("", "", 1.0),
        ("yes", "", 0.0),
    ],
)
def test_f1_of_words(given, expected, f1):
    assert token_f1(given, expected) == pytest.approx(f1)
    assert token_f1(expected, given) == pytest.approx(f1)


def test_case_articles_and_punctuation_do_not_count():
    assert normalized("  The  Cat, sat; on a mat. ") == "cat sat on mat"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are 3 people.", 3),
        ("about -2.5 m", -2.5),
        ("1,234 cars", 1234),
        ("I see three people and 2 cars", 3),
        ("No people.", 0),
        ("twenty", 20),
        (".5", 0.5),
        ("1e3", 1000),
        ("none at all", 0),
        ("cannot tell", None),
        ("someone", None),
        ("9" * 400, None),
        ("-" + "1" * 200 + " or 3", 3),
    ],
)
def test_the_first_number_of_an_answer(text, number):
    assert first_number(text) == number


def test_calibration_error_is_the_weighted_gap():
    error, bins = calibration([0.9, 0.9, 0.9, 0.9, 1.0], [True, True, False, False, True])
    (only,) = bins
    assert (only.count, only.accuracy) == (5, 0.6)
    assert error == pytest.approx(0.92 - 0.6)
    assert calibration([], []) == (0.0, [])
    assert calibration([0.05, 0.95], [False, True])[0] == pytest.approx(0.05)


def test_briers_score():
    assert brier([[1.0, 0.0]], [0]) == 0.0
    assert brier([[1.0, 0.0]], [1]) == 2.0
    assert brier([[0.7, 0.3], [0.5, 0.5]], [0, 1]) == pytest.approx((0.18 + 0.5) / 2)


def test_percentiles_are_numpys():
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    for share in (0.0, 0.5, 0.95, 1.0):
        assert percentile(values, share) == pytest.approx(np.quantile(values, share))
    assert math.isnan(percentile([], 0.5))


def test_events_are_paired_once_and_as_many_as_possible():
    match = match_events([1.0, 2.0, 10.0], [2.4, 1.4, 20.0], 1.0)
    assert match.pairs == ((1.0, 1.4), (2.0, 2.4))
    assert (match.missed, match.spurious) == ((10.0,), (20.0,))
    # 1.9 fits both, and 2.8 only the second: the first must take 1.9.
    assert match_events([1.0, 2.0], [1.9, 2.8], 1.0).missed == ()
    assert match_events([], [1.0], 1.0).spurious == (1.0,)
    assert match_events([1.0], [2.0], 1.0).pairs == ((1.0, 2.0),)
    assert match_events([1.0], [2.01], 1.0).pairs == ()


def test_an_event_is_where_something_begins():
    states = [(0, False), (1, True), (2, True), (3, False), (4, True)]
    assert onsets(states) == [1, 4]
    assert onsets([(0, True)]) == [0]
