# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""use_sim_time: stamps are judged by /clock, and a jump back starts the window anew."""

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from vila_ros.errors import ErrorCode

TOPIC = "/front/image_raw"
SECOND = 10**9


@pytest.fixture(scope="module")
def camera(robot):
    robot.start_node({"use_sim_time": True, "cameras": ["front"], "camera.front.topic": TOPIC})
    robot.activate()
    camera = robot.start_camera()
    camera.do("advertise", topic=TOPIC)
    camera.do("advertise", topic="/clock", kind="clock")
    robot.link(camera, TOPIC, "front")
    camera.do("matched", topic="/clock")
    return camera


def set_clock(robot, camera, seconds):
    """Set the time, again and again, until the node has it."""

    def is_set():
        camera.do("clock", now_ns=seconds * SECOND)
        return robot.value("clock", "now") == f"{seconds}.000000000"

    robot.wait_for(is_set, f"the time is {seconds} s")


def test_a_clock_that_does_not_tick_is_an_error(robot, camera):
    status = robot.fresh_diagnostic("clock")
    assert status.level == DiagnosticStatus.ERROR
    assert "nothing is on /clock" in status.message


def test_stamps_are_judged_by_the_simulated_clock(robot, camera):
    set_clock(robot, camera, 100)
    camera.do("image", topic=TOPIC, stamp_ns=100 * SECOND)
    robot.wait_for_frames("front", 1, "frames held")
    camera.do("image", topic=TOPIC, stamp_ns=200 * SECOND)
    robot.wait_for_frames("front", 1, "dropped: stamp in the future")


def test_a_jump_back_forgets_the_frames_and_is_reported(robot, camera):
    set_clock(robot, camera, 10)
    robot.wait_for(lambda: robot.value("cameras/front", "frames held") == "0", "no frame is held")
    status = robot.fresh_diagnostic("clock")
    assert status.level == DiagnosticStatus.WARN
    assert int(robot.value("clock", "jumps")) >= 1
    assert robot.query(prompt="x").error_code == ErrorCode.EMPTY_WINDOW
    camera.do("image", topic=TOPIC, stamp_ns=10 * SECOND)
    robot.wait_for_frames("front", 1, "frames held")
    outcome = robot.query(prompt="x", sampling=1)
    assert [each.stamp.sec for each in outcome.frames] == [10]
