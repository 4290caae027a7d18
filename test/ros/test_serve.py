# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila serve` as a process: the same node, configured and activated, from one command."""

import json

from vila_ros.errors import ErrorCode

COMMAND = ["-m", "vila_ros.cli.main", "serve"]


def test_it_configures_and_activates_the_node_with_what_it_was_given(robot, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        json.dumps(
            {
                "/**": {
                    "ros__parameters": {
                        "engine": {"runtime": "test.doubles:EchoEngine", "options": "{}"},
                        "question": {"max_frames": 3},
                        "diagnostics": {"period": 0.1},
                    }
                }
            }
        )
    )
    command = [
        *COMMAND, "--model", "served", "--profile", "cpu", "--params-file", str(file),
        "--camera", "front:=/f", "--camera", "rear:=/r:compressed",
        "--ros-args", "-p", "question.queue_size:=7",
    ]  # fmt: skip
    node = robot.start_node(command=command)
    robot.wait_for_engine("READY")
    assert robot.state() == "active"
    assert robot.get_parameter("cameras") == ["front", "rear"]
    assert robot.value("cameras/rear", "type") == "sensor_msgs/msg/CompressedImage"
    assert robot.get_parameter("question.deadline") == 300.0, "the profile's"
    assert robot.get_parameter("question.max_frames") == 3, "the file's, before the profile's"
    assert robot.get_parameter("question.queue_size") == 7
    outcome = robot.query(prompt="hello", sampling=4)
    assert (outcome.error_code, outcome.stats.model) == (ErrorCode.NONE, "served")
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_a_configuration_that_fails_is_said_and_exit_status_1(robot):
    node = robot.start_node(command=COMMAND)
    assert node.ended() == 1
    assert "engine.model is empty" in node.log
    assert "Traceback" not in node.log
