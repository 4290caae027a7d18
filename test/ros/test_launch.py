# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""launch/vila.launch.py, run for real where launch_ros is: node up, active, and up again."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from test.ros.robot import ROOT, TIMEOUT
from vila_ros.srv import Query

LAUNCH_FILE = ROOT / "launch" / "vila.launch.py"

# What `ros2 launch` does, for ros2launch is a package of its own.
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
arguments = [each.split(":=", 1) for each in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(LaunchDescription([IncludeLaunchDescription(
    PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)]))
sys.exit(service.run())
"""


def test_the_launch_file_is_python():
    ast.parse(LAUNCH_FILE.read_text(), str(LAUNCH_FILE))


@pytest.fixture
def launch(robot, tmp_path):
    """Launches the file with arguments; what it started is ended afterwards."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed")
    log = tmp_path / "launch.log"
    started = []

    def start(*arguments):
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(LAUNCH_FILE), *arguments],
                cwd=ROOT, env={**robot.environment, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        started.append(process)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(TIMEOUT)


@pytest.fixture
def params_file(tmp_path):
    file = tmp_path / "echo.yaml"
    echo = {
        "engine.runtime": "test.doubles:EchoEngine",
        "engine.options": "{}",
        "diagnostics.period": 0.1,
    }
    file.write_text(json.dumps({"/**": {"ros__parameters": echo}}))
    return file


def node_process(launched):
    """The process id of the node that a launch has started, or None."""
    children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
    for child in children:
        if "vila_node" in Path(f"/proc/{child}/cmdline").read_text():
            return int(child)
    return None


def test_it_configures_and_activates_the_node(robot, launch, params_file):
    launch(
        "model:=launched", "cameras:=front:=/f rear:=/r:compressed", f"params_file:={params_file}",
        "profile:=cpu",
    )  # fmt: skip
    robot.wait_for_engine("READY")
    robot.wait_for(lambda: robot.state() == "active", "it is active")
    assert robot.get_parameter("cameras") == ["front", "rear"]
    assert robot.get_parameter("camera.rear.type") == "compressed"
    assert robot.get_parameter("question.deadline") == 300.0
    assert robot.query(prompt="hello", sampling=4).stats.model == "launched"


def test_without_autostart_the_node_waits_unconfigured(robot, launch, params_file):
    launch("autostart:=false", f"params_file:={params_file}", "respawn:=false")
    robot.wait_for(lambda: robot.diagnostic("engine"), "it is there")
    assert robot.state() == "unconfigured"


@pytest.mark.parametrize(
    ("argument", "says"),
    [("profile:=toaster", "no profile 'toaster'"), ("cameras:=front", "names no camera")],
)
def test_an_argument_that_makes_no_sense_is_said(launch, argument, says):
    launched, log = launch(argument)
    assert launched.wait(TIMEOUT) == 1
    assert says in log.read_text()


def test_a_node_that_was_killed_comes_back_active(robot, launch, params_file):
    """The last test here: what the killed node had in the ROS graph lingers for a while."""
    launched, _ = launch("model:=launched", f"params_file:={params_file}")
    robot.wait_for_engine("READY")
    first = node_process(launched)
    os.kill(first, signal.SIGKILL)
    robot.wait_for(lambda: node_process(launched) not in (first, None), "the node is back")
    robot.wait_for_engine("READY")
    client = robot.node.create_client(Query, "/vila/query")
    asked = []

    def is_answered():
        # A request may still go to the killed node alone, so ask until one is answered.
        if not asked or time.monotonic() - asked[-1][0] > 1.0:
            future = client.call_async(Query.Request(prompt="hello", sampling=4))
            asked.append((time.monotonic(), future))
        return next((f.result() for _, f in asked if f.done()), None)

    assert robot.wait_for(is_answered, "an answer").text == "hello"
