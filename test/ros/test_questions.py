# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions through the action and the service: answers, feedback, cancel, limits, errors."""

import time

import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage

from test.ros.camera_publisher import encode
from vila_ros.errors import ErrorCode
from vila_ros.msg import FewShotExample

RED, BLUE = (255, 0, 0), (0, 0, 255)
DELAY = 0.05
LONG = "word " * 1000


@pytest.fixture(scope="module")
def node(robot):
    return robot.start_node(
        {
            "cameras": ["front", "rear"],
            "camera.front.topic": "/front/image_raw",
            "camera.rear.topic": "/rear/image_raw/compressed",
            "engine.options": f'{{"delay": {DELAY}, "max_concurrency": 1, "max_images": 12}}',
            "question.queue_size": 2,
            "query.max_tokens": 4,
            "query.max_deadline": 2.0,
        }
    )


@pytest.fixture(scope="module")
def stamps(robot, node):
    """An active node with three frames of each camera; their stamps, oldest first."""
    robot.activate()
    camera = robot.start_camera()
    camera.do("advertise", topic="/front/image_raw")
    camera.do("advertise", topic="/rear/image_raw/compressed", kind="compressed")
    robot.link(camera, "/front/image_raw", "front")
    robot.link(camera, "/rear/image_raw/compressed", "rear", "file")
    newest = time.time_ns()
    stamps = [newest - 2 * 10**9, newest - 10**9, newest]
    for stamp in stamps:
        camera.do("image", topic="/front/image_raw", stamp_ns=stamp, color=RED, frame_id="f")
        camera.do(
            "file", topic="/rear/image_raw/compressed", stamp_ns=stamp, color=BLUE, frame_id="r"
        )
    robot.wait_for_frames("front", 3, "frames held")
    robot.wait_for_frames("rear", 3, "frames held")
    return stamps


@pytest.fixture
def active(robot, stamps):
    """The robot; afterwards no question is left running."""
    yield robot

    def is_idle():
        return robot.value("queue", "running") == robot.value("queue", "waiting") == "0"

    robot.fresh_diagnostic("queue")
    robot.wait_for(is_idle, "no question is left")


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def message_of(stamp_ns):
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def used(outcome):
    return {(each.camera, nanoseconds(each.stamp), each.frame_id) for each in outcome.frames}


def test_answer_names_the_frames_it_is_based_on(active, stamps):
    status, result = active.ask(prompt="what is here", sampling=1, max_frames=2).result()
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, ErrorCode.NONE)
    assert used(result) == {("front", stamps[2], "f"), ("rear", stamps[2], "r")}
    assert nanoseconds(result.window_start) == nanoseconds(result.window_end) == stamps[2]
    assert "what is here" in result.text
    # The engine was shown what the cameras sent: red in front, blue (a jpeg) behind.
    assert "64x48:#ff0000" in result.text
    assert "64x48:#0000fe" in result.text
    assert result.stats.model == "echo"
    assert result.stats.completion_tokens > 3


def test_window_by_stamps_is_inclusive(active, stamps):
    _, result = active.ask(
        prompt="x",
        cameras=["front"],
        start=message_of(stamps[0]),
        end=message_of(stamps[1]),
        sampling=2,
    ).result()
    assert used(result) == {("front", stamps[0], "f"), ("front", stamps[1], "f")}
    assert nanoseconds(result.window_start) == stamps[0]
    assert nanoseconds(result.window_end) == stamps[1]


def test_feedback_brings_stages_and_growing_text_and_the_last_word(active):
    goal = active.ask(prompt="one two three four five six", sampling=4)
    _, result = goal.result()
    # Feedback and result travel by different ways: the last feedback may arrive after the result.
    active.wait_for(lambda: goal.feedback[-1].text == result.text, "the last feedback")
    texts = [each.text for each in goal.feedback]
    assert result.text == "one two three four five six"
    assert texts == sorted(texts, key=len)
    assert len(set(texts)) > 3
    stages = [each.stage for each in goal.feedback]
    assert stages == sorted(stages)
    assert goal.feedback[-1].tokens == 6


def test_feedback_keeps_to_its_rate(active):
    assert active.set_parameters(question__feedback_rate=1.0) == ""
    goal = active.ask(prompt="one two three four five six", sampling=4)
    _, result = goal.result()
    active.wait_for(lambda: goal.feedback[-1].text == result.text, "the last feedback")
    generating = [each for each in goal.feedback if each.stage == 3]
    assert len(generating) <= 2
    assert active.set_parameters(question__feedback_rate=20.0) == ""


def test_cancel_ends_a_goal_and_keeps_what_was_said(active):
    goal = active.ask(prompt=LONG, sampling=4, max_tokens=1000)
    active.wait_for(lambda: any(each.text for each in goal.feedback), "text")
    assert goal.cancel() == 1
    status, result = goal.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
    assert result.text.startswith("word")


def test_cancel_reaches_a_goal_that_waits(active):
    running = active.ask(prompt=LONG, sampling=4, max_tokens=1000)
    waiting = active.ask(prompt="second", sampling=4)
    assert waiting.cancel() == 1
    status, result = waiting.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, ErrorCode.CANCELLED)
    running.cancel()
    assert running.result()[0] == GoalStatus.STATUS_CANCELED


def test_full_queue_refuses_with_its_own_code(active):
    goals = [active.ask(prompt=LONG, sampling=4, max_tokens=1000)]
    active.wait_for(lambda: goals[0].feedback, "it runs")
    goals += [active.ask(prompt=LONG, sampling=4) for _ in range(2)]
    status, result = active.ask(prompt="one too many", sampling=4).result()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, ErrorCode.QUEUE_FULL)
    assert "2" in result.error_message
    for goal in goals:
        goal.cancel()
        goal.result()


def test_higher_priority_is_answered_first(active):
    running = active.ask(prompt=LONG, sampling=4, max_tokens=1000)
    active.wait_for(lambda: running.feedback, "it runs")
    low = active.ask(prompt="low", sampling=4, priority=-10)
    high = active.ask(prompt="high", sampling=4, priority=10)
    order = []
    for name, goal in (("low", low), ("high", high)):
        goal.future.add_done_callback(lambda _, name=name: order.append(name))
    running.cancel()
    active.wait_for(lambda: len(order) == 2, "both answers")
    assert order == ["high", "low"]


def test_goals_side_by_side_each_get_their_own_answer(active):
    goals = {word: active.ask(prompt=word, sampling=4) for word in ("first", "second")}
    assert {word: goal.result()[1].text for word, goal in goals.items()} == {
        "first": "first",
        "second": "second",
    }


def test_service_answers_with_frames(active, stamps):
    outcome = active.query(prompt="x", cameras=["rear"], sampling=1, max_frames=1)
    assert outcome.error_code == ErrorCode.NONE
    assert used(outcome) == {("rear", stamps[2], "r")}


def test_service_enforces_its_token_cap(active):
    outcome = active.query(prompt="1 2 3 4 5 6 7 8", sampling=4, max_tokens=1000)
    assert outcome.text == "1 2 3 4"
    assert outcome.stats.completion_tokens == 4
    assert active.query(prompt="1 2 3 4 5 6 7 8", sampling=4).text == "1 2 3 4"
    assert active.query(prompt="1 2 3 4 5 6 7 8", sampling=4, max_tokens=2).text == "1 2"


def test_service_enforces_its_deadline(active):
    assert active.set_parameters(query__max_deadline=0.12, query__max_tokens=1000) == ""
    outcome = active.query(prompt=LONG, sampling=4, deadline=600.0, max_tokens=1000)
    assert outcome.error_code == ErrorCode.DEADLINE_EXCEEDED
    assert "0.12 s" in outcome.error_message
    assert active.set_parameters(query__max_deadline=2.0, query__max_tokens=4) == ""


def test_service_calls_do_not_wait_for_a_running_goal_to_be_served(active):
    """The executor is free: a bad query is answered while a goal is on its way."""
    goal = active.ask(prompt=LONG, sampling=4, max_tokens=1000)
    active.wait_for(lambda: goal.feedback, "it runs")
    assert active.query(prompt="").error_code == ErrorCode.INVALID_REQUEST
    assert goal.handle.status in (GoalStatus.STATUS_ACCEPTED, GoalStatus.STATUS_EXECUTING)
    goal.cancel()
    goal.result()


@pytest.mark.parametrize(
    ("fields", "code", "names"),
    [
        ({"prompt": ""}, ErrorCode.INVALID_REQUEST, "prompt"),
        ({"sampling": 77}, ErrorCode.INVALID_REQUEST, "77"),
        ({"temperature": 9.0}, ErrorCode.INVALID_REQUEST, "9.0"),
        ({"temperature": float("nan")}, ErrorCode.INVALID_REQUEST, "nan"),
        ({"window": -1.0}, ErrorCode.INVALID_REQUEST, "-1.0"),
        ({"deadline": float("inf")}, ErrorCode.INVALID_REQUEST, "inf"),
        ({"end": Time(sec=-5)}, ErrorCode.INVALID_REQUEST, "-5"),
        ({"start": Time(sec=20), "end": Time(sec=10)}, ErrorCode.INVALID_REQUEST, "10"),
        ({"json_schema": "{}", "choices": ["a"]}, ErrorCode.INVALID_REQUEST, "choices"),
        ({"choices": ["yes", "yes"]}, ErrorCode.INVALID_REQUEST, "yes"),
        ({"cameras": ["left"]}, ErrorCode.UNKNOWN_CAMERA, "left"),
        ({"start": Time(sec=10), "end": Time(sec=20)}, ErrorCode.EMPTY_WINDOW, "20"),
        ({"max_frames": 500}, ErrorCode.TOO_MANY_FRAMES, "500"),
        ({"prompt": "long " * 5000}, ErrorCode.PROMPT_TOO_LONG, "4096"),
        ({"json_schema": '{"type": "sausage"}'}, ErrorCode.INVALID_SCHEMA, "sausage"),
        ({"images": [CompressedImage(data=b"GIF89a")]}, ErrorCode.INVALID_IMAGE, "mage 1 of 1"),
        ({"images": [CompressedImage()]}, ErrorCode.INVALID_IMAGE, "mage 1 of 1"),
        (
            {"images": [CompressedImage(data=encode(RED, "jpeg")[:200])]},
            ErrorCode.INVALID_IMAGE,
            "mage 1",
        ),
        ({"prompt": LONG, "deadline": 0.2}, ErrorCode.DEADLINE_EXCEEDED, "deadline"),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else None,
)
def test_each_mistake_has_its_code_and_names_the_value(active, fields, code, names):
    status, result = active.ask(**{"prompt": "x", **fields}).result()
    assert ErrorCode(result.error_code) == code, result.error_message
    assert names in result.error_message
    assert status == GoalStatus.STATUS_ABORTED
    outcome = active.query(**{"prompt": "x", **fields})
    assert ErrorCode(outcome.error_code) == code, outcome.error_message


def test_schema_choices_images_and_examples_reach_the_engine(active):
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    _, result = active.ask(prompt="x", sampling=4, json_schema=schema).result()
    assert result.json.replace(" ", "") == '{"n":0}'
    _, result = active.ask(prompt="stop or go: go", sampling=4, choices=["stay", "go"]).result()
    assert result.text == "go"
    assert sum(result.choice_probabilities) == pytest.approx(1.0)
    picture = CompressedImage(format="png", data=encode(BLUE, "png"))
    example = FewShotExample(images=[picture], question="colour?", answer="blue")
    _, result = active.ask(prompt="x", sampling=4, images=[picture], examples=[example]).result()
    assert result.error_code == ErrorCode.NONE
    assert "64x48:#0000ff" in result.text


def test_text_that_ros_strings_cannot_hold_arrives_whole(active):
    _, result = active.ask(prompt="ä € 🙂 end", sampling=4).result()
    assert result.text == "ä € 🙂 end"
