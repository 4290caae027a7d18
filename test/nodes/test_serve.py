# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila serve` on the command line: what it hands to ROS, and one line for what makes no sense."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from vila_ros.nodes import serve

ROOT = Path(__file__).resolve().parents[2]


def arguments(*words):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    return serve.ros_arguments(parser.parse_args(words))


def test_options_become_ros_arguments(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("{}")
    found = arguments(
        "--model", "/m", "--camera", "front:=/f", "--params-file", str(file), "--profile", "cpu",
        "--namespace", "robot1", "--log-level", "debug",
    )  # fmt: skip
    assert found[0] == "--ros-args"
    assert found[1] == "--params-file"
    assert found[2].endswith("cpu.yaml")
    assert found[3:5] == ["--params-file", str(file)]
    assert "autostart:=true" in found
    assert 'engine.model:="/m"' in found
    assert 'cameras:=["front"]' in found
    assert 'camera.front.topic:="/f"' in found
    assert "__ns:=/robot1" in found
    assert found[-2:] == ["--log-level", "debug"]


def test_what_stands_behind_ros_args_is_handed_on_last():
    assert arguments("--model", "m", "--ros-args", "-p", "buffer.frames:=5")[-2:] == [
        "-p",
        "buffer.frames:=5",
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--camera", "front"], "'front' names no camera"),
        (["--profile", "toaster"], "no profile 'toaster'"),
        (["--params-file", "/none.yaml"], "no parameter file '/none.yaml'"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_status_1(words, says):
    done = subprocess.run(
        [sys.executable, "-m", "vila_ros.cli.main", "serve", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("vila serve: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
