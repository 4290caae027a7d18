# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Both verbs with a real model, tiny and of random weights, on bags in both storages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.cli.main import main
from vila_ros.fleet.engines import close_engines

MODEL = Path(__file__).parent.parent / "data/vila/vila15_mlp_downsample_70px/checkpoint"
ENGINE = ("--model", f"tiny:={MODEL}", "--threads", "1")
QUESTIONS = """\
questions:
  - id: stop_sign
    ask: Is a stop sign in the picture?
    every: 1s
    window: 500ms
    max_frames: 1
    choices: [yes, no]
    choice: {topic: /ground_truth, value: "data.objects[kind=stop sign] | any"}
  - {id: what, ask: What is there?, every: 1s, max_frames: 1, max_tokens: 3, text: a road}
""".replace("What is there?", "'What is there?'")


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drives")
    for storage in ("mcap", "sqlite3"):
        write_drive(folder / storage, seconds=2.0, rate=5.0, storage=storage)
    yield [folder / "mcap", folder / "sqlite3"]
    close_engines()


def test_both_storages_are_described_alike(drives, tmp_path, capsys):
    given = ["--max-tokens", "4", "--model", str(MODEL), "--threads", "1", "--every", "1s"]
    assert main(["replay", *map(str, drives), "--out", str(tmp_path / "out"), *given]) == 0
    rows = [
        [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("mcap", "sqlite3")
    ]
    assert len(rows[0]) == 2
    assert rows[0] == rows[1]
    assert all(row["completion_tokens"] <= 4 for row in rows[0])
    assert "4 descriptions, 0 failed" in capsys.readouterr().out


def test_two_runs_of_a_model_give_the_same_bytes(drives, tmp_path):
    (tmp_path / "q.yaml").write_text(QUESTIONS)
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        given = ["--questions", str(tmp_path / "q.yaml"), "--out", str(out), *ENGINE]
        assert main(["evaluate", *map(str, drives), *given]) == 0
        close_engines()  # the second run begins with nothing kept
    for name in ("answers.jsonl", "results.json", "report.html"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes()
    facts = json.loads((outs[0] / "results.json").read_text())
    sign = facts["metrics"]["tiny"]["stop_sign"]
    assert (sign["asked"], sign["scored"], sign["failed"]) == (4, 4, 0)
    assert sign["metrics"]["brier"] is not None
    assert facts["models"]["tiny"]["runtime"] == "torch"


def test_a_model_that_is_not_there_is_one_line(drives, tmp_path, capsys):
    (tmp_path / "q.yaml").write_text(QUESTIONS)
    given = ["--questions", str(tmp_path / "q.yaml"), "--out", str(tmp_path / "out")]
    assert main(["evaluate", *map(str, drives), *given, "--model", "/no/such/model"]) == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("vila ")]
    assert line.startswith("vila evaluate: mcap (model), sqlite3 (model): /no/such/model")
