# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What rclpy or a callback raises neither ends the node's loop nor the cameras' thread."""

import logging
import threading

import pytest
import rclpy
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from vila_ros.nodes import vila_node
from vila_ros.nodes.frame_receiver import FrameReceiver, ReceiverCallbackGroup
from vila_ros.nodes.ros_logging import package_log


@pytest.fixture
def node(robot):
    node = rclpy.create_node("subject", context=robot.context)
    yield node
    node.destroy_node()


def test_an_exception_in_the_executor_is_survived(robot, node):
    ran = threading.Event()

    def fail():
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "as rclpy raises for a bad request")

    thread = threading.Thread(target=vila_node.spin, args=(node,))
    thread.start()
    robot.wait_for(lambda: node.executor is not None, "it spins")
    node.executor.create_task(fail)
    node.executor.create_task(ran.set)
    assert ran.wait(10)
    assert thread.is_alive()
    node.executor.shutdown()
    thread.join(10)
    assert not thread.is_alive()


def test_a_callback_that_raises_costs_its_message_alone(robot, node):
    got = []

    def receive(data):
        got.append(data)
        if len(got) == 1:
            raise ValueError("the first message is not liked")

    subscription = node.create_subscription(
        String, "/words", receive, QoSProfile(depth=10), raw=True,
        callback_group=ReceiverCallbackGroup(),
    )  # fmt: skip
    receiver = FrameReceiver(node, [subscription])
    receiver.start()
    publisher = robot.node.create_publisher(String, "/words", 10)
    robot.wait_for(lambda: publisher.get_subscription_count() == 1, "they have met")
    publisher.publish(String(data="one"))
    publisher.publish(String(data="two"))
    robot.wait_for(lambda: len(got) == 2, "both messages")
    receiver.stop()
    assert receiver.failure == ""
    publisher.publish(String(data="three"))
    assert len(got) == 2
    assert all(isinstance(each, bytes) for each in got)


def test_what_the_package_logs_is_in_the_nodes_log(node, capfd):
    log = logging.getLogger("vila_ros.perception")
    with package_log(node):
        log.warning("camera %s: time jumped", "front")
    log.warning("no more")
    found = capfd.readouterr()
    assert "[subject]: camera front: time jumped" in found.err + found.out
