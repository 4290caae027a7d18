# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Blurring hooks for the tests, importable in worker processes."""

import numpy as np


def blackens_even(picture, source):
    """Change every second frame in place."""
    if source.stamp_ns // 100_000_000 % 2 == 0:
        picture[:8] = 0


def returns_new(picture, source):
    return np.zeros_like(picture)


def fails_late(picture, source):
    """Fail on one frame."""
    if source.stamp_ns // 100_000_000 % 40 == 30:
        raise RuntimeError("no face detector")


def shrinks(picture, source):
    return picture[:4]


def nothing(picture, source):
    return None


SEEN = []


def notes(picture, source):
    """Note whose pictures were asked for, in this process."""
    SEEN.append(source.stamp_ns)
