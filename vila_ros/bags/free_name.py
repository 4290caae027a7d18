# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Different names for things that would be called the same."""

from __future__ import annotations

from collections.abc import Container

_NUMBER_LENGTH = 3  # of "_2" to "_99"


def free_name(name: str, taken: Container[str], longest: int | None = None) -> str:
    """The name, or where it is taken that with a number: "front_2".

    longest: characters of a name; a longer one is cut to make room for the number.
    """
    stem = name if longest is None else name[: longest - _NUMBER_LENGTH]
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{stem}_{number}"
    return free
