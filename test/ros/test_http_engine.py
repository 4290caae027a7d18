# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node answers about its cameras through a server process, and survives the server."""

import json
import time

import pytest
from action_msgs.msg import GoalStatus

from test.engine.servers.process import ServerProcess
from vila_ros.errors import ErrorCode

IMAGE = "/front/image_raw"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    started = [ServerProcess(folder / name) for name in ("a", "b")]
    yield started
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def camera(robot):
    camera = robot.start_camera()
    camera.do("advertise", topic=IMAGE)
    return camera


@pytest.fixture(scope="module")
def node(robot, servers, camera):
    robot.environment["TEST_SERVER_KEY"] = "sk-of-the-fleet"
    options = {
        "servers": [server.url() for server in servers],
        "api_key_env": "TEST_SERVER_KEY",
        "image_format": "png",
    }
    node = robot.start_node(
        {
            "engine.runtime": "openai_http",
            "engine.model": "tiny",
            "engine.options": json.dumps(options),
            "cameras": ["front"],
        }
    )
    robot.activate()
    robot.link(camera, IMAGE, "front")
    return node


def test_a_question_about_a_camera_is_answered_by_the_server(robot, servers, camera, node):
    camera.do("image", topic=IMAGE, stamp_ns=time.time_ns(), color=[200, 10, 60])
    robot.wait_for_frames("front", 1, "frames held")
    goal = robot.ask(prompt="what is there?", max_frames=1)
    status, result = goal.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, ErrorCode.NONE)
    assert "png:64x48:200,10,60" in result.text
    assert result.text.endswith("what is there?")
    assert result.stats.runtime == "openai_http"
    assert result.stats.completion_tokens > 0
    keys = {entry["authorization"] for server in servers for entry in server.entries("asked")}
    assert keys == {"Bearer sk-of-the-fleet"}


def test_choices_come_back_as_one_of_them(robot, node):
    result = robot.query(prompt="left", choices=["left", "right"], sampling=4)
    assert (result.error_code, result.text) == (ErrorCode.NONE, "left")


def test_when_a_server_is_killed_the_other_one_answers(robot, servers, node):
    servers[0].kill()
    for number in range(3):
        result = robot.query(prompt=f"still here {number}", sampling=4)
        assert (result.error_code, result.text) == (ErrorCode.NONE, f"still here {number}")


def test_when_all_servers_are_gone_a_question_has_its_code_and_the_node_goes_on(
    robot, servers, node
):
    for server in servers:
        if server.process.poll() is None:
            server.kill()
    result = robot.query(prompt="hello?", sampling=4)
    assert result.error_code == ErrorCode.ENGINE_DOWN
    assert str(servers[1].port) in result.error_message
    assert "sk-of-the-fleet" not in node.log + result.error_message
    assert node.alive
