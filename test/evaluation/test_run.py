# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole evaluation: what is written, that it is the same each time, and what wrong input says."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.evaluation.conftest import QUESTIONS
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize_float32
from vila_ros.bags.writer import BagWriter
from vila_ros.cli.main import main
from vila_ros.engine.interface import EngineSpec
from vila_ros.evaluation import run as running
from vila_ros.evaluation.output import write_output
from vila_ros.evaluation.question_file import read_question_file
from vila_ros.evaluation.run import EvaluationSettings
from vila_ros.fleet.types import Progress

ROOT = Path(__file__).resolve().parent.parent.parent
SEEING = "test.evaluation.engines:SeeingEngine"
LASTING = ("answers.jsonl", "results.json", "report.html")


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "q.yaml"
    path.write_text(QUESTIONS)
    return path


def evaluate(drives, questions, out, *more: str, options: str = "{}") -> int:
    return main(
        [
            "evaluate", *map(str, drives), "--questions", str(questions), "--out", str(out),
            "--runtime", SEEING, "--engine-options", options, *more,
        ]
    )  # fmt: skip


def lasting(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in LASTING}


def results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text())


def test_everything_is_asked_and_scored(drives, questions, tmp_path, capsys):
    out = tmp_path / "out"
    assert evaluate(drives, questions, out, "--model", "see") == 0
    facts = results(out)
    assert list(facts["recordings"]) == ["drive_mcap", "drive_sqlite3"]
    assert facts["models"] == {"see": {"model": "see", "runtime": "echo"}}
    asked = {name: own["asked"] for name, own in facts["metrics"]["see"].items()}
    assert asked == {
        "stop_sign": 8, "people": 8, "speed": 8, "cone_near": 16, "weather": 3, "scene": 4,
    }  # fmt: skip
    assert {name: own["failed"] for name, own in facts["metrics"]["see"].items()} == dict.fromkeys(
        asked, 0
    )
    scored = {name: own["scored"] for name, own in facts["metrics"]["see"].items()}
    assert (scored["stop_sign"], scored["weather"]) == (8, 3)
    assert facts["metrics"]["see"]["scene"]["metrics"]["all_right"] == 1.0
    assert facts["metrics"]["see"]["stop_sign"]["metrics"]["calibration_error"] is not None
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert len(rows) == sum(asked.values())
    assert rows[0]["recording"] == "drive_mcap"
    assert "of the same 3.8 s" in " ".join(facts["notes"])
    assert sorted(path.name for path in out.iterdir()) == [
        ".vila", "answers.jsonl", "report.html", "results.json", "timings.html", "timings.json",
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "stop_sign  see    accuracy" in printed
    assert str(out / "report.html") in printed


def test_two_runs_give_the_same_bytes(drives, questions, tmp_path):
    for name, workers in (("a", "1"), ("b", "2")):
        out = tmp_path / name
        assert evaluate(drives, questions, out, "--model", "see", "--workers", workers) == 0
    assert lasting(tmp_path / "a") == lasting(tmp_path / "b")


def test_a_run_that_was_killed_ends_with_the_same_bytes(drives, questions, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    evaluate(drives, questions, whole, "--model", "see")
    command = [
        sys.executable, "-m", "vila_ros.cli.main", "evaluate", *map(str, drives),
        "--questions", str(questions), "--out", str(out), "--runtime", SEEING, "--model", "see",
    ]  # fmt: skip
    slow = ["--engine-options", '{"delay": 0.03}']
    process = subprocess.Popen([*command, *slow], cwd=ROOT)
    done = out / ".vila" / "ledger" / "done"
    while not (done.is_dir() and list(done.iterdir())):
        assert process.poll() is None
        os.sched_yield()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "results.json").exists()
    options = json.loads((out / ".vila" / "run.json").read_text())
    assert options["complete"] is False
    assert evaluate(drives, questions, out, "--model", "see", options='{"delay": 0.03}') == 0
    assert lasting(out) == lasting(whole)


def test_a_complete_run_is_left_as_it_is(drives, questions, tmp_path, capsys):
    out = tmp_path / "out"
    evaluate(drives, questions, out, "--model", "see")
    before = (out / "timings.json").read_bytes()
    capsys.readouterr()
    assert evaluate(drives, questions, out, "--model", "see") == 0
    assert (out / "timings.json").read_bytes() == before
    assert "complete already; nothing was done" in capsys.readouterr().out


def test_an_output_of_another_run_is_refused(drives, questions, tmp_path, capsys):
    out = tmp_path / "out"
    evaluate(drives, questions, out, "--model", "see")
    before = lasting(out)
    assert evaluate(drives, questions, out, "--model", "see", "--seed", "3") == 1
    assert "is of another run: seed was 0, now it is 3" in capsys.readouterr().err
    assert lasting(out) == before


@pytest.mark.parametrize(
    ("threshold", "status"),
    [
        ("scene all_right >= 100%", 0),
        ("all latency_p95 <= 100 s", 0),
        ("scene all_right < 100%", 1),
        ("all latency_p50 < 0", 1),
        ("weather exact > 90%", 1),
    ],
)
def test_a_threshold_that_fails_is_the_exit_status(
    drives, questions, tmp_path, threshold, status, capsys
):
    questions.write_text(f"{QUESTIONS}thresholds:\n  - {threshold}\n")
    out = tmp_path / "out"
    assert evaluate(drives[:1], questions, out, "--model", "see") == status
    told = [line for line in capsys.readouterr().out.splitlines() if threshold in line]
    assert [line.startswith("FAILS") for line in told] == [bool(status)]
    # And again, for a CI that asks twice: with the reason for its exit status.
    assert evaluate(drives[:1], questions, out, "--model", "see") == status
    assert capsys.readouterr().out.splitlines()[1:] == told


def test_models_and_an_earlier_run_are_compared(drives, questions, tmp_path, capsys):
    before, out = tmp_path / "before", tmp_path / "out"
    evaluate(drives, questions, before, "--model", "see")
    code = evaluate(
        drives, questions, out, "--model", "one:=see", "--model", "two:=see",
        "--baseline", str(before), options='{"shift": 1}',
    )  # fmt: skip
    assert code == 0
    compared = [
        (each["first"], each["second"])
        for each in results(out)["comparisons"]
        if each["question"] == "stop_sign"
    ]
    assert compared == [("one", "two"), ("before: see", "one"), ("before: see", "two")]
    assert "two against one: no difference shown" in capsys.readouterr().out


def test_a_failing_answer_counts_as_wrong_and_is_told(drives, questions, tmp_path):
    out = tmp_path / "out"
    evaluate(drives[:1], questions, out, "--model", "see", options='{"fail": "people"}')
    people = results(out)["metrics"]["see"]["people"]
    assert (people["failed"], people["metrics"]["within"], people["metrics"]["answered"]) == (
        4,
        0,
        0,
    )
    assert "It failed, as it was told to." in (out / "report.html").read_text()


def test_a_sensor_that_says_inf_and_an_answer_without_end_leave_a_whole_report(
    drives, questions, tmp_path
):
    drive, out = tmp_path / "drive", tmp_path / "out"
    source = open_recording(drives[0])
    with BagWriter(drive) as writer:
        for message in source.messages():
            writer.write(message.topic, message.type, message.stamp_ns, message.data)
            far = math.inf if message.stamp_ns < source.start_ns + 1_500_000_000 else 4.0
            writer.write("/r", "std_msgs/msg/Float32", message.stamp_ns, serialize_float32(far))
    questions.write_text(
        "questions: [{id: far, ask: how far, every: 1s, number: {topic: /r}, tolerance: 1}]"
    )
    options = json.dumps({"says": "9" * 400})
    assert evaluate([drive], questions, out, "--model", "see", options=options) == 0
    far = results(out)["metrics"]["see"]["far"]
    assert (far["asked"], far["scored"], far["metrics"]["within"]) == (4, 2, 0.0)
    assert far["metrics"]["understood"] == 0.0


def test_an_answer_that_holds_line_separators_is_one_answer(
    drives, questions, tmp_path, line_separators
):
    out = tmp_path / "out"
    options = json.dumps({"says": line_separators})
    assert evaluate(drives[:1], questions, out, "--model", "see", options=options) == 0
    with (out / "answers.jsonl").open(encoding="utf-8") as file:
        texts = [row["text"] for row in map(json.loads, file) if row["question"] == "people"]
    assert texts == [line_separators] * 4


def test_a_recording_that_cannot_be_read_is_named_and_the_others_count(
    drives, questions, tmp_path, capsys
):
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no mcap at all")
    out = tmp_path / "out"
    assert evaluate([drives[0], broken], questions, out, "--model", "see") == 1
    assert "broken: 'broken.mcap' is no MCAP file" in capsys.readouterr().err
    assert list(results(out)["recordings"]) == ["drive_mcap"]
    assert "broken was left out" in (out / "report.html").read_text()
    # It is mended, and the same command takes it in. A changed recording is another run.
    assert evaluate([drives[0], broken], questions, out, "--model", "see") == 1


def test_what_is_done_is_kept_when_another_recording_can_be_read_again(
    unreadable, questions, tmp_path, monkeypatch
):
    monkeypatch.setattr(running, "SLICE_SECONDS", 2.0)
    paths, mend = unreadable
    models = {name: EngineSpec(SEEING, "see") for name in ("one", "two")}

    def progress() -> Progress:
        told: list[Progress] = []
        running.evaluate(
            paths, read_question_file(questions), QUESTIONS, EvaluationSettings(models),
            tmp_path / "out", write_output, progress=told.append,
        )  # fmt: skip
        return told[-1]

    first = progress()
    assert (first.done, first.failed) == (4, 0)
    mend()
    second = progress()
    assert (second.total, second.resumed, second.failed) == (8, 4, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("/speed", "/sped"), r"q.yaml:16: 'DRIVE' has no topic '/sped'; it has /front"),
        (("kind=person", "kimd=person"), r"q.yaml:11: the path .* there is no 'kimd'"),
        (
            ("cameras: front", "cameras: rear"),
            "'DRIVE' has no camera 'rear'; it has front \\(/front",
        ),
    ],
)
def test_what_does_not_fit_the_recording_is_said(drives, questions, tmp_path, capsys, change, says):
    questions.write_text(QUESTIONS.replace(*change))
    assert evaluate(drives[:1], questions, tmp_path / "out", "--model", "see") == 1
    error = capsys.readouterr().err.replace(str(drives[0]), "DRIVE")
    assert re.search(says, error), error
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_truncated_recording_is_asked_as_far_as_it_goes(drives, questions, tmp_path, capsys):
    """As a recorder that lost power leaves it."""
    whole = next(drives[0].glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    assert evaluate([cut], questions, out, "--model", "see") == 0
    assert 0 < results(out)["metrics"]["see"]["stop_sign"]["asked"] < 4
    (note,) = [note for note in results(out)["notes"] if "can be read" in note]
    assert note.startswith("cut: cut.mcap: its end is missing;")
    assert "can be read, up to byte" in capsys.readouterr().err


def test_pictures_of_several_sizes_are_one_recording(questions, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, side in enumerate((32, 64, 48, 640)):
        pixels = np.full((side, side * 2, 3), 10 * number, np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    questions.write_text(
        "questions: [{id: a, ask: what, every: 1s, max_frames: 4, text: '1 images, mean 0'}]"
    )
    out = tmp_path / "out"
    assert evaluate([folder], questions, out, "--model", "see", "--frame-rate", "1") == 0
    rows = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == [
        "1 images, mean 0", "2 images, mean 5", "3 images, mean 10", "4 images, mean 15",
    ]  # fmt: skip
    assert not any(row["error"] for row in rows)


def test_wrong_arguments_are_one_line(drives, questions, tmp_path, capsys):
    out = tmp_path / "out"
    for more, says in (
        (["--model", "see", "--model", "x/see"], "Two models are called 'see'"),
        (["--model", ":=x"], "write NAME:=MODEL"),
        (["--model", "see", "--engine-options", "{"], "--engine-options is not JSON"),
        (["--model", "see", "--engine-options", '{"dely": 1}'], "dely"),
        (["--model", "see", "--workers", "0"], "workers is 0"),
        (["--model", "see", "--baseline", str(tmp_path)], "is no output of vila evaluate"),
    ):
        assert evaluate(drives[:1], questions, out, *more) == 1
        printed = capsys.readouterr().err.strip().splitlines()
        assert says in printed[-1]
        shutil.rmtree(out, ignore_errors=True)
    assert evaluate([drives[0], drives[0]], questions, out, "--model", "see") == 1
    assert "is given twice" in capsys.readouterr().err


def test_a_damaged_baseline_names_its_line(drives, questions, tmp_path, capsys):
    (tmp_path / "answers.jsonl").write_text('{"model": 1}\n')
    more = ("--model", "see", "--baseline", str(tmp_path))
    assert evaluate(drives[:1], questions, tmp_path / "out", *more) == 1
    assert "line 1 is no answer of vila evaluate" in capsys.readouterr().err
