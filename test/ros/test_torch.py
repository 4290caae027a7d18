# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The torch engine behind the action, with a tiny random checkpoint: it streams, and it stops."""

import time

import pytest
from action_msgs.msg import GoalStatus

from vila_ros.errors import ErrorCode

pytest.importorskip("torch", reason="the torch engine needs torch")

TOPIC = "/front/image_raw"


@pytest.fixture(scope="module")
def active(robot, tmp_path_factory):
    from vila_ros.model.random_checkpoint import write_random_checkpoint

    checkpoint = write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    robot.start_node(
        {
            "engine.runtime": "torch",
            "engine.model": str(checkpoint),
            "engine.options": '{"device": "cpu", "threads": 1}',
            "cameras": ["front"],
            "camera.front.topic": TOPIC,
        }
    )
    robot.activate()
    return robot


@pytest.fixture(scope="module")
def stamp(active):
    camera = active.start_camera()
    camera.do("advertise", topic=TOPIC)
    active.link(camera, TOPIC, "front")
    stamp = time.time_ns()
    camera.do("image", topic=TOPIC, stamp_ns=stamp)
    active.wait_for_frames("front", 1, "frames held")
    return stamp


def test_an_answer_about_a_frame_streams(active, stamp):
    goal = active.ask(prompt="What is this?", max_tokens=16)
    status, result = goal.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, ErrorCode.NONE)
    assert [each.stamp.sec * 10**9 + each.stamp.nanosec for each in result.frames] == [stamp]
    assert result.stats.image_tokens > 0
    assert result.stats.completion_tokens > 0
    assert result.stats.runtime == "torch"
    active.wait_for(lambda: goal.feedback[-1].text == result.text, "the last feedback")


def test_greedy_answers_repeat(active, stamp):
    texts = {active.ask(prompt="What is this?", max_tokens=8).result()[1].text for _ in range(2)}
    assert len(texts) == 1


def test_an_answer_is_cancelled_between_two_tokens(active, stamp):
    long = '{"type": "array", "items": {"type": "integer"}, "minItems": 300}'
    goal = active.ask(prompt="Count.", max_tokens=600, sampling=4, json_schema=long)
    active.wait_for(lambda: any(each.text for each in goal.feedback), "text")
    assert goal.cancel() == 1
    status, result = goal.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)


def test_choices_come_with_probabilities(active, stamp):
    outcome = active.query(prompt="Is it red?", choices=["yes", "no"])
    assert outcome.text in ("yes", "no")
    assert sum(outcome.choice_probabilities) == pytest.approx(1.0, abs=1e-3)
