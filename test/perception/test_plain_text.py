# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model says cannot drive the terminal that shows it."""

import pytest

from vila_ros.perception.plain_text import plain


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\x1b[2Jb\r\nc\x07\u202ed", "a [2Jb c d"),
        ("  two\n\n lines\u2028more ", "two lines more"),
        ("Überall 道路 🚗", "Überall 道路 🚗"),
        ("\ud800half", "half"),
    ],
)
def test_text_is_on_one_line_and_without_commands(said, shown):
    assert plain(said) == shown
