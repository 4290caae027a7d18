# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""replay.launch.py, run for real where launch_ros is."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from sensor_msgs.msg import CompressedImage

from test.ros.robot import ROOT, TIMEOUT
from vila_ros.bags.drive_recording import CAMERA_TOPIC
from vila_ros.bags.synthetic_drive import write_drive

pytest.importorskip("launch_ros", reason="needs launch_ros, which every ROS 2 installation has")

_LAUNCH = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

given = [word.split(":=", 1) for word in sys.argv[2:]]
service = LaunchService()
service.include_launch_description(
    IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=given)
)
sys.exit(service.run())
"""


@pytest.fixture
def launch(robot, tmp_path):
    """Launch with arguments; ends with the test."""
    started = []

    def start(*arguments):
        file = str(ROOT / "launch" / "replay.launch.py")
        process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, file, *arguments],
            cwd=tmp_path,
            env=robot.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT)


@pytest.mark.parametrize("sim_time", ["true", "false"])
def test_the_node_receives_the_cameras_of_the_recording(robot, launch, tmp_path, sim_time):
    write_drive(tmp_path / "drive", seconds=3.0)
    images = []
    subscription = robot.node.create_subscription(CompressedImage, CAMERA_TOPIC, images.append, 10)
    robot.statuses.clear()
    # No model is there: the node is active all the same and watches its cameras.
    launch(
        f"bag:={tmp_path / 'drive'}", "model:=/no/model", "loop:=true", f"use_sim_time:={sim_time}"
    )
    robot.wait_for(lambda: images, "the player publishes")
    robot.wait_for_frames("front", 5)
    source = "/clock" if sim_time == "true" else "system"
    robot.wait_for(lambda: robot.value("clock", "source") == source, f"time comes from {source}")
    robot.node.destroy_subscription(subscription)


def test_what_is_no_recording_is_refused(launch, tmp_path):
    process = launch(f"bag:={tmp_path / 'nothing'}", "model:=/no/model")
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode != 0
    assert "nothing' does not exist" in output
