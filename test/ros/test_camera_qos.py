# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service of camera subscriptions: sensor data, unless a parameter says other."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import ReliabilityPolicy


@pytest.fixture(scope="module")
def camera(robot):
    robot.start_node(
        {
            "cameras": ["usual", "strict"],
            "camera.usual.topic": "/usual/image_raw",
            "camera.strict.topic": "/strict/image_raw",
            "qos_overrides./strict/image_raw.subscription.reliability": "reliable",
        }
    )
    robot.activate()
    camera = robot.start_camera()
    for name in ("usual", "strict"):
        camera.do("advertise", topic=f"/{name}/image_raw", reliability="best_effort")
    return camera


def subscription(robot, topic):
    def found():
        infos = robot.node.get_subscriptions_info_by_topic(topic)
        return [each for each in infos if each.node_name == "vila"]

    [info] = robot.wait_for(found, topic)
    return info.qos_profile


def test_the_default_is_best_effort(robot, camera):
    assert subscription(robot, "/usual/image_raw").reliability == ReliabilityPolicy.BEST_EFFORT


def test_a_best_effort_camera_is_received(robot, camera):
    camera.do("matched", topic="/usual/image_raw")

    def arrived():
        # Best effort: what is sent just after discovery may be lost, so send until one arrives.
        camera.do("image", topic="/usual/image_raw", stamp_ns=time.time_ns())
        return int(robot.value("cameras/usual", "frames held") or 0)

    robot.wait_for(arrived, "a frame")


def test_an_override_by_parameter_holds(robot, camera):
    assert subscription(robot, "/strict/image_raw").reliability == ReliabilityPolicy.RELIABLE


def test_a_publisher_that_does_not_fit_is_named_with_the_parameter_to_set(robot, camera):
    def says_it():
        status = robot.diagnostic("cameras/strict")
        # A publisher is discovered before the name of its node is.
        named = "/camera_publisher" in status.message
        return "QoS does not fit" in status.message and named and status

    status = robot.wait_for(says_it, "an incompatible publisher")
    assert status.level == DiagnosticStatus.ERROR
    assert "qos_overrides./strict/image_raw.subscription" in status.message
