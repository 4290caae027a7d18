# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of descriptions, with the stamps of what was described."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test.evaluation.test_run import SEEING
from vila_ros.bags.drive_recording import CAMERA_TOPIC, START_NS
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.bags.vila_messages import DESCRIPTION_TOPIC, TEXT_TOPIC, vila_types
from vila_ros.cli.main import main
from vila_ros.engine.interface import EngineSpec
from vila_ros.evaluation import replaying
from vila_ros.evaluation.recordings import named_recordings, overlaps
from vila_ros.evaluation.replaying import ReplaySettings, replay_to_folder
from vila_ros.fleet.types import Progress

SECOND = 10**9


def replay(*arguments: object) -> int:
    return main(
        ["replay", *map(str, arguments), "--runtime", SEEING, "--model", "see", "--every", "1s"]
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".vila" not in path.parts
    }


def test_the_terminal_shows_what_is_said_when(drives, capsys):
    assert replay(*drives, "--window", "500ms", "--camera", "front") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{drives[0]}:"
    assert [line[:10].strip() for line in lines[1:5]] == ["0.0 s", "1.0 s", "2.0 s", "3.0 s"]
    assert lines[1].startswith("     0.0 s  1 images, mean ")
    assert lines[2].startswith("     1.0 s  3 images, mean ")


def test_the_same_command_ends_alike_once_it_is_complete(drives, tmp_path, capsys):
    given = [drives[0], "--out", tmp_path / "good"]
    assert [replay(*given), replay(*given)] == [0, 0]
    said = capsys.readouterr().out
    assert said.count("good: 4 descriptions, 0 failed.") == 2
    assert said.count("good is complete already; nothing was done.") == 1
    given = [drives[0], "--prompt", " ", "--out", tmp_path / "bad"]
    assert [replay(*given), replay(*given)] == [1, 1]
    assert capsys.readouterr().out.count("bad: 0 descriptions, 4 failed.") == 2
    (tmp_path / "good" / "drive_mcap.jsonl").unlink()
    assert replay(drives[0], "--out", tmp_path / "good") == 1
    assert "answers are gone" in capsys.readouterr().err


@pytest.mark.parametrize("start", ["1h", "3.95s"])
def test_nothing_to_describe_is_an_error_with_and_without_a_folder(drives, tmp_path, capsys, start):
    given = [drives[0], "--start", start]
    for out in ([], ["--out", tmp_path / "out"], ["--out", tmp_path / "out"]):
        assert replay(*given, *out) == 1
        assert "There was no frame to describe" in capsys.readouterr().err


def test_images_without_a_folder_for_them_are_refused(drives, capsys):
    assert replay(drives[0], "--with-images") == 1
    assert "--with-images needs --out" in capsys.readouterr().err


def test_a_recording_of_the_descriptions_is_written(drives, tmp_path):
    out = tmp_path / "out"
    assert replay(*drives, "--out", out, "--with-images", "--prompt", "What is there?") == 0
    assert sorted(path.name for path in out.iterdir()) == [
        ".vila", "drive_mcap", "drive_mcap.jsonl", "drive_sqlite3", "drive_sqlite3.jsonl",
    ]  # fmt: skip
    made = open_recording(out / "drive_sqlite3")
    source = open_recording(drives[1])
    assert list(made.messages([CAMERA_TOPIC])) == list(source.messages([CAMERA_TOPIC]))
    said = list(made.messages([DESCRIPTION_TOPIC]))
    assert [message.stamp_ns for message in said] == [START_NS + t * SECOND for t in range(4)]
    last = deserialize(said[-1], vila_types())
    assert last.header.stamp.sec == START_NS // SECOND + 3
    assert last.prompt == "What is there?"
    text = [deserialize(each).data for each in made.messages([TEXT_TOPIC])]
    rows = [json.loads(line) for line in (out / "drive_sqlite3.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == text
    assert last.text == text[-1]
    assert rows[0]["model"] == "see"


def test_a_description_that_holds_line_separators_is_one(drives, tmp_path, line_separators):
    out, options = tmp_path / "out", json.dumps({"says": line_separators})
    assert replay(drives[0], "--out", out, "--engine-options", options) == 0
    texts = [
        deserialize(each).data for each in open_recording(out / "drive_mcap").messages([TEXT_TOPIC])
    ]
    assert texts == [line_separators] * 4


def test_slices_and_workers_do_not_show(drives, tmp_path, monkeypatch):
    assert replay(*drives, "--out", tmp_path / "whole") == 0
    monkeypatch.setattr(replaying, "SLICE_SECONDS", 0.7)
    assert replay(*drives, "--out", tmp_path / "sliced", "--workers", 2) == 0
    assert files(tmp_path / "whole") == files(tmp_path / "sliced")


def test_what_is_done_is_kept_when_another_recording_can_be_read_again(
    unreadable, tmp_path, monkeypatch
):
    monkeypatch.setattr(replaying, "SLICE_SECONDS", 2.0)
    paths, mend = unreadable
    settings = ReplaySettings(EngineSpec(SEEING, "see"), 1.0, {"prompt": "Describe."})

    def progress() -> Progress:
        told: list[Progress] = []
        replay_to_folder(paths, settings, tmp_path / "out", progress=told.append)
        return told[-1]

    first = progress()
    assert (first.done, first.failed) == (2, 0)
    mend()
    second = progress()
    assert (second.total, second.resumed, second.failed) == (4, 2, 0)


def test_only_a_part_is_replayed(drives, capsys):
    assert replay(drives[0], "--start", "1s", "--duration", "1500ms") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in (each.strip() for each in lines)] == ["1.0 s", "2.0 s"]


def test_an_answer_that_fails_is_told_and_the_rest_goes_on(drives, tmp_path, capsys):
    options = ("--engine-options", '{"fail": "Describe"}')
    assert replay(drives[0], "--out", tmp_path / "out", *options) == 1
    assert "(failed) It failed, as it was told to." in capsys.readouterr().out
    assert open_recording(tmp_path / "out" / "drive_mcap").topics[TEXT_TOPIC].count == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--every", "0s"], "--every is 0s; it must be at least 1ms"),
        (["--every", "often"], "--every is often; write a time such as 2s"),
        (["--camera", "rear"], "has no camera 'rear'; it has front (/front/image_raw/compressed)"),
        (["--workers", "2"], "--workers and --ray need --out"),
        (["--start", "1h"], "no frame to describe between --start and the end"),
        (["--frame-rate", "0"], "The frame rate 0.0 is outside of (0, 1000] Hz"),
    ],
)
def test_wrong_arguments_are_one_line(drives, capsys, arguments, says):
    given = ["replay", str(drives[0]), "--runtime", SEEING, "--model", "see", *arguments]
    assert main(given) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert says in line


def test_an_empty_and_a_missing_recording(tmp_path, capsys):
    (tmp_path / "empty.mcap").touch()
    assert replay(tmp_path / "empty.mcap") == 1
    assert "'empty.mcap' is empty (0 bytes)" in capsys.readouterr().err
    assert replay(tmp_path / "nothing") == 1
    assert "does not exist" in capsys.readouterr().err


def test_names_differ_and_say_what_they_are_of(tmp_path):
    paths = [tmp_path / "a" / "run.mcap", tmp_path / "b" / "run.mcap", tmp_path / "run_2"]
    assert list(named_recordings(paths)) == ["run", "run_3", "run_2"]
    assert list(named_recordings([tmp_path / "tub.tar.gz", tmp_path / "…"])) == ["tub", "recording"]


def test_recordings_of_one_time_are_told():
    start = 1_700_000_000 * SECOND
    spans = {"a": (start, start + 10 * SECOND), "b": (start + 4 * SECOND, start + 6 * SECOND)}
    (line,) = overlaps(spans)
    assert line.startswith("a and b tell of the same 2.0 s")
    assert overlaps({"a": (start, start + 1), "b": (start + 2, start + 3)}) == []
    assert overlaps({"a": (SECOND, 9 * SECOND), "b": (SECOND, 9 * SECOND)}) == []
