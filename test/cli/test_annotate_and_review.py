# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila annotate` and `vila review`, as a person runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from test.annotation.conftest import write_folder
from test.annotation.test_run import record
from vila_ros.annotation.store import AnnotationFolder
from vila_ros.cli.main import main
from vila_ros.fleet.engines import close_engines

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def vila(capsys):
    """Run a verb; returns exit status, standard output and standard error."""

    def vila(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    yield vila
    close_engines()


@pytest.fixture
def drive(tmp_path):
    """A recording in which a car brakes once."""
    speeds = [10.0] * 20 + [10.0 - 0.8 * i for i in range(1, 11)] + [2.0] * 20
    return record(tmp_path / "drive", [200] * 10, speeds=speeds)


def test_annotate_without_a_model_mines_motion(vila, drive, tmp_path):
    out = tmp_path / "out"
    status, said, complaints = vila("annotate", drive, "--out", out, "--model", "none")
    assert (status, complaints) == (0, "")
    assert said.splitlines() == [
        "1 candidate of 5 frames",
        "       1  motion",
        f"review them: vila review {out}",
    ]
    status, said, _ = vila("annotate", drive, "--out", out, "--model", "none")
    assert status == 0
    assert said.startswith(f"{out} was complete already.")


def test_annotate_takes_every_option(vila, drive, tmp_path):
    out = tmp_path / "out"
    engine = "test.annotation.engines:BrightnessEngine"
    status, said, _ = vila(
        "annotate", drive, "--out", out, "--model", "one", "--runtime", engine,
        "--second-model", "two", "--ask", "Is it bright?", "--ask", "Is it dark?",
        "--opposite", "Is it dark?", "Is it bright?", "--same", "Is it dark?", "Is it bright?",
        "--confidence", 0.9, "--every", 0.5, "--camera", "front", "--most", 3, "--apart", 0.1,
        "--deceleration", 2, "--yaw-rate", 2, "--alike-bits", 0, "--no-regions",
    )  # fmt: skip
    assert status == 0
    assert "3 candidates of 10 frames" in said
    miners = [line.split() for line in said.splitlines() if line.startswith("   ")]
    assert {name for _, name in miners} >= {"question", "disagreement"}
    assert miners == sorted(miners, key=lambda each: (-int(each[0]), each[1]))
    store = AnnotationFolder(out)
    drafts = [store.draft(name) for name in store.candidates]
    assert [draft.model for draft in drafts] == ["one"] * 3
    settings = json.loads((out / "annotations.json").read_text())["settings"]
    assert settings["limits"]["deceleration"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "nothing' does not exist"),
        (("drive", "--every", "0"), "--every is 0.0 s; it must be greater than 0"),
        (("drive", "--deceleration", "-1"), "deceleration is -1.0; it must be greater than 0"),
        (("drive", "--no-motion"), "nothing is looked for"),
        (("drive", "--opposite", "a?", "b?"), "questions need a model"),
        (("drive", "--camera", "rear"), "1 part failed"),
        (("drive", "--workers", "0"), "workers is 0"),
        (("drive", "--model", "no/such folder"), "no/such folder"),
        (("drive", "--runtime", "abacus", "--model", "x"), "'abacus' is not known"),
        (("drive", "--vision-model", "/nowhere"), "/nowhere"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_finished(vila, drive, tmp_path, words, message):
    words = [drive if word == "drive" else word for word in words]
    if "--model" not in words:
        words += ["--model", "none"]
    status, said, complaints = vila("annotate", *words, "--out", tmp_path / "out")
    assert (status, said) == (1, "")
    assert complaints.splitlines()[-1].startswith("vila annotate: ")
    assert message in complaints
    assert not (tmp_path / "out" / "candidates.jsonl").exists()


def test_review_writes_what_was_accepted(vila, tmp_path):
    folder = write_folder(tmp_path / "annotations")
    AnnotationFolder(folder).decide("drive-front-00001", "accept", 0)
    status, said, _ = vila("review", folder, "--out", tmp_path / "out", "--format", "coda_lm")
    assert status == 0
    assert said.splitlines() == ["     1 images", "     1 CODA-LM files", f"in {tmp_path / 'out'}"]
    status, _, complaint = vila("review", folder, "--out", tmp_path / "out")
    assert status == 1
    assert "is there already" in complaint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "'nothing' holds no annotations"),
        (("annotations", "--port", "99999"), "the port is 99999"),
        (("annotations", "--drafts"), "name their folder with --out"),
        (("annotations", "--out", "annotations"), "is there already"),
    ],
)
def test_mistakes_in_review_are_one_clear_line(vila, tmp_path, words, message):
    folder = write_folder(tmp_path / "annotations")
    words = [folder if word == "annotations" else word for word in words]
    status, said, complaint = vila("review", *words)
    assert (status, said) == (1, "")
    assert message in complaint
    assert len(complaint.splitlines()) == 1


def test_review_serves_the_page_until_it_is_interrupted(tmp_path):
    folder = write_folder(tmp_path / "annotations")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-m", "vila_ros.cli.main", "review", str(folder), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        said = "".join(server.stdout.readline() for _ in range(4))
        url = re.search(r"http://127\.0\.0\.1:\d+/\S+/", said).group()
        queue = json.load(urllib.request.urlopen(f"{url}api/queue"))
        assert [row["id"] for row in queue["candidates"]] == list(
            AnnotationFolder(folder).candidates
        )
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url.replace(url.split("/")[3], "guess"))
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
