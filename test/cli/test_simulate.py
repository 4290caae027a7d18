# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila simulate` refuses what its renderer would crash over."""

from __future__ import annotations

import pytest

from vila_ros.cli.main import main
from vila_ros.cli.simulate import MAX_SIDE, parse_size


def test_a_size_is_width_and_height():
    assert parse_size("640x480") == (640, 480)
    assert parse_size(f"1x{MAX_SIDE}") == (1, MAX_SIDE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "640"], "--size is '640'; it is WIDTHxHEIGHT"),
        (["--size", "0x0"], "--size is '0x0'"),
        (["--size", "640x-480"], "--size is '640x-480'"),
        (["--size", f"{MAX_SIDE + 1}x9"], f"each from 1 to {MAX_SIDE}"),
        (["--size", f"{'9' * 5000}x9"], "WIDTHxHEIGHT"),
        (["--seed", "-1"], "--seed is -1; it must be at least 0"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, says):
    assert main(["simulate", str(tmp_path / "drive"), *arguments]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("vila simulate: ")
    assert says in complaint
    assert len(complaint.splitlines()) == 1
    assert not list(tmp_path.iterdir())
