# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model says, as it may be shown on a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """Text of a model on one line, without what a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())
