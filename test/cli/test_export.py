# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from test.datasets.export_data import SPEED_TEMPLATE, write_recording
from vila_ros.cli.main import main


@pytest.fixture
def drive(tmp_path):
    (tmp_path / "t.yaml").write_text(SPEED_TEMPLATE)
    return write_recording(tmp_path / "drive")


def run(tmp_path, drive, *more):
    return main(["export", str(drive), "--template", str(tmp_path / "t.yaml"), "--out",
                 str(tmp_path / "out"), "--gap", "0.2", *more])  # fmt: skip


def test_it_says_what_it_made(tmp_path, drive, capsys):
    assert run(tmp_path, drive) == 0
    printed = capsys.readouterr().out
    assert "samples for training" in printed
    assert "copied, 0 encoded, 0 blurred" in printed
    assert str(tmp_path / "out/preview.html") in printed
    assert run(tmp_path, drive) == 0
    assert "is complete already; nothing was done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--val", "2"], "The validation part 2.0 is outside of [0, 0.9]."),
        (["--quality", "0"], "The JPEG quality 0 is outside of [1, 100]."),
        (["--blur", "faces"], "not of the form 'module:function'"),
        (["--slice", "0"], "outside of [1, 86400] s"),
        (["--cameras", "left"], "has no camera 'left'; it has front"),
        (["--name", "a+b"], "has more than letters, digits, _ and -"),
        (["--logged"], "No recording holds logged questions and answers"),
        (["--annotations", "nowhere"], "'nowhere' holds no annotations"),
        (["--split", "recording"], "needs at least 2 recordings"),
        (["--workers", "0"], "workers is 0"),
        (["--format", "lerobot", "--fps", "-1"], "outside of [0, 1000]"),
    ],
)
def test_wrong_arguments_give_one_line_and_status_1(tmp_path, drive, capsys, more, says):
    assert run(tmp_path, drive, *more) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.startswith("vila export: ")
    assert len(error.strip().splitlines()) == 1


def test_a_template_with_an_error_names_file_and_line(tmp_path, drive, capsys):
    (tmp_path / "t.yaml").write_text(SPEED_TEMPLATE.replace("linear", "cubic"))
    assert run(tmp_path, drive) == 1
    assert f"{tmp_path / 't.yaml'}:2: match is 'cubic'" in capsys.readouterr().err
