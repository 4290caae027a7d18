# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Long recordings as several tasks."""

from __future__ import annotations

from itertools import pairwise


def time_slices(start_ns: int, end_ns: int, seconds: float) -> list[tuple[int, int]]:
    """Split a time, both ends included, into parts of at most `seconds`, both ends included.

    No stamp lies in two parts or in none; the parts are equally long up to a nanosecond. seconds:
    greater than 0.
    """
    if end_ns < start_ns:
        return []
    length = end_ns - start_ns + 1
    count = max(1, -(-length // max(1, round(seconds * 1e9))))
    cuts = [start_ns + length * number // count for number in range(count + 1)]
    return [(first, after - 1) for first, after in pairwise(cuts)]
