# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The script that writes what vila-nano is quantised by."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybullet", reason="rendered scenes need pybullet")

SCRIPT = str(Path(__file__).resolve().parents[2] / "scripts" / "calibrate_vila_nano.py")


def calibrate(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    return ended.value.code


def test_every_kind_of_question_is_among_the_samples(tmp_path, monkeypatch):
    assert calibrate(monkeypatch, "--out", tmp_path, "--samples", 64) == 0
    samples = json.loads((tmp_path / "data.json").read_text())
    answers = [each["conversations"][1]["value"] for each in samples]
    for name in (name for sample in samples for name in sample["image"]):
        assert (tmp_path / name).is_file()
    assert sum(len(each["image"]) > 1 for each in samples) == 16
    assert set(answers) & {"1", "2", "3", "4"}, "count"
    assert set(answers) & {"in a room", "on a road", "in the open"}, "place"
    assert any(answer.startswith("it ") for answer in answers), "motion"
    assert any(answer.startswith("{") for answer in answers), "json"
    assert any(answer.endswith(".") for answer in answers), "caption"
    assert {"yes", "no"} <= set(answers)


def test_it_says_what_is_wrong_with_what_it_was_given(tmp_path, monkeypatch, capsys):
    assert calibrate(monkeypatch, "--out", tmp_path / "new", "--samples", -3) == 2
    assert "--samples is -3; it must be from 1 to" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "new"
    assert calibrate(monkeypatch, "--out", out, "--samples", 1) == 1
    said = capsys.readouterr().err
    assert said == f"error: '{out}' cannot be written: Not a directory. Name another folder.\n"
