# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stamps for sources that know the order of their images but not their times."""

from __future__ import annotations

# A stamp of zero means "not set" in ROS, so time begins one second later.
FIRST_STAMP_NS = 1_000_000_000


def stamp_at_rate(index: int, rate: float) -> int:
    """The stamp of the index-th image at `rate` images a second, nanoseconds."""
    return FIRST_STAMP_NS + round(index * 1e9 / rate)
