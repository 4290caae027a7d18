# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topic ~/scene_description: what it holds, when it is silent and why, how it gives way."""

import time

import pytest

from vila_ros.errors import ErrorCode

TOPIC = "/front/image_raw"


@pytest.fixture(scope="module")
def camera(robot):
    robot.start_node(
        {
            "cameras": ["front"],
            "camera.front.topic": TOPIC,
            "description.rate": 20.0,
            "description.prompt": "what is it",
            "description.max_frames": 2,
            "engine.options": '{"max_concurrency": 1}',
        }
    )
    robot.activate()
    camera = robot.start_camera()
    camera.do("advertise", topic=TOPIC)
    robot.link(camera, TOPIC, "front")
    return camera


def trouble(robot):
    status = robot.diagnostic("scene_description")
    return status.message if status else ""


def send(camera):
    stamp = time.time_ns()
    camera.do("image", topic=TOPIC, stamp_ns=stamp, frame_id="camera_optical")
    return stamp


def described(robot):
    return [
        each.header.stamp.sec * 10**9 + each.header.stamp.nanosec for each in robot.descriptions
    ]


def test_nothing_is_published_without_frames_and_the_reason_is_said(robot, camera):
    robot.wait_for(lambda: "no frame from any camera" in trouble(robot), "the reason")
    assert robot.descriptions == []


def test_a_description_carries_the_newest_frames_header_and_its_window(robot, camera):
    stamps = [send(camera)]
    robot.wait_for(lambda: stamps[-1] in described(robot), "the first description")
    stamps.append(send(camera))
    robot.wait_for(lambda: stamps[-1] in described(robot), "the second description")
    message = robot.descriptions[-1]
    assert message.header.frame_id == "camera_optical"
    assert [each.stamp for each in message.frames] == [message.window_start, message.window_end]
    assert message.window_end == message.header.stamp
    assert message.window_start.sec * 10**9 + message.window_start.nanosec == stamps[0]
    assert message.prompt == "what is it"
    assert "what is it" in message.text
    assert message.json == ""
    assert message.stats.model == "echo"


def test_the_same_frames_are_not_described_twice(robot, camera):
    robot.wait_for(lambda: "no new frame" in trouble(robot), "the reason")
    assert len(described(robot)) == len(set(described(robot)))


def test_schema_prompt_and_rate_follow_the_parameters(robot, camera):
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    assert (
        robot.set_parameters(description__prompt="how many", description__json_schema=schema) == ""
    )
    stamp = send(camera)
    robot.wait_for(lambda: stamp in described(robot), "a description")
    assert robot.descriptions[-1].prompt == "how many"
    assert robot.descriptions[-1].json.replace(" ", "") == '{"n":0}'
    assert robot.set_parameters(description__rate=0.0, description__json_schema="") == ""
    robot.wait_for(lambda: "switched off" in trouble(robot), "it is off")


def test_a_description_never_delays_a_question(robot, camera):
    """With one place in the engine, held by a description that would take half a minute."""
    robot.transition("deactivate")
    robot.transition("cleanup")
    assert (
        robot.set_parameters(
            engine__options='{"delay": 0.3, "max_concurrency": 1}',
            description__prompt="word " * 100,
            description__max_tokens=100,
            description__rate=20.0,
            query__max_deadline=5.0,
        )
        == ""
    )
    robot.activate()

    def is_describing():
        send(camera)
        return robot.value("queue", "running") == "1"

    robot.wait_for(is_describing, "a description runs")
    outcome = robot.query(prompt="quick", sampling=4)
    assert (ErrorCode(outcome.error_code), outcome.text) == (ErrorCode.NONE, "quick")
    robot.wait_for(
        lambda: int(robot.value("scene_description", "preempted by questions")) >= 1, "it gave way"
    )
