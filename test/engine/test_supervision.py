# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
from vila_ros.engine.supervision import Backoff, SupervisionPolicy, TokenRate


def test_waits_double_up_to_the_longest_and_begin_anew():
    backoff = Backoff(SupervisionPolicy(backoff_first=0.5, backoff_max=3.0))
    assert [backoff.fail() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.fail() == 0.5


def test_an_engine_that_fails_for_months_still_waits_the_longest():
    backoff = Backoff(SupervisionPolicy(backoff_first=0.5, backoff_max=30.0))
    backoff.failures = 100_000
    assert backoff.fail() == 30.0


def test_the_token_rate_is_the_mean_of_the_last_ten_seconds():
    rate = TokenRate()
    assert rate.per_second() == 0.0
    rate.add(100.0, 0)
    assert rate.per_second() == 0.0
    rate.add(102.0, 50)
    assert rate.per_second() == 25.0
    for second in range(103, 120):
        rate.add(float(second), 50 + 10 * (second - 102))
    assert rate.per_second() == 10.0
    rate.add(200.0, 220)
    rate.add(210.0, 220)
    assert rate.per_second() == 0.0
