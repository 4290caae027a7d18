# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What cameras send, good and bad, and what /diagnostics says of it; the node never falls over."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from vila_ros.errors import ErrorCode
from vila_ros.perception.types import DropReason

TOPICS = {
    "front": ("/front/image_raw", "image"),
    "rear": ("/rear/image_raw/compressed", "compressed"),
}


@pytest.fixture(scope="module")
def node(robot):
    return robot.start_node(
        {
            "cameras": ["front", "rear", "silent"],
            "camera.front.topic": TOPICS["front"][0],
            "camera.rear.topic": TOPICS["rear"][0],
            "camera.silent.topic": "/silent/image_raw",
            "buffer.bytes": 10 * 64 * 48 * 3,
            "buffer.pixels": 64 * 48,
        }
    )


@pytest.fixture(scope="module")
def camera(robot, node):
    robot.activate()
    camera = robot.start_camera()
    for name, (topic, kind) in TOPICS.items():
        camera.do("advertise", topic=topic, kind=kind)
        robot.link(camera, topic, name, "image" if kind == "image" else "file")
    return camera


@pytest.fixture(autouse=True)
def _node_lives(node, camera):
    yield
    assert node.alive, node.log
    assert "lost" not in node.log
    assert "Traceback" not in node.log


def count(robot, camera, key):
    robot.fresh_diagnostic(f"cameras/{camera}")
    return int(robot.value(f"cameras/{camera}", key) or 0)


def test_images_of_both_kinds_are_received_and_held(robot, camera):
    camera.do("image", topic=TOPICS["front"][0], stamp_ns=time.time_ns())
    camera.do("file", topic=TOPICS["rear"][0], stamp_ns=time.time_ns(), form="png")
    for name in TOPICS:
        robot.wait_for_frames(name, 1, "frames held")
        status = robot.diagnostic(f"cameras/{name}")
        assert status.level == DiagnosticStatus.OK, status.message
        assert robot.value(f"cameras/{name}", "topic") == TOPICS[name][0]
        assert "dropped" in {each.key for each in status.values}


BAD = [
    ("front", "image", {"step": 5}, DropReason.WRONG_SIZE),
    ("front", "image", {"height": 3000, "width": 1}, DropReason.WRONG_SIZE),
    ("front", "image", {"height": 100000, "width": 100000, "step": 300000}, None),
    ("front", "image", {"encoding": "plaid8"}, DropReason.UNKNOWN_ENCODING),
    ("front", "image", {"data": []}, DropReason.EMPTY),
    ("front", "image", {"stamp_ns": 0}, DropReason.ZERO_STAMP),
    ("front", "image", {"stamp_ns": 2 * 10**18}, DropReason.FUTURE_STAMP),
    ("rear", "file", {"keep": 0}, DropReason.EMPTY),
    ("rear", "file", {"keep": 30}, None),
    ("rear", "file", {"keep": 30, "form": "png"}, None),
    ("rear", "file", {"stamp_ns": 0}, DropReason.ZERO_STAMP),
]


@pytest.mark.parametrize(("name", "command", "fault", "reason"), BAD)
def test_a_bad_image_is_counted_by_its_reason(robot, camera, name, command, fault, reason):
    key = "dropped" if reason is None else f"dropped: {reason.value}"
    before = count(robot, name, key)
    camera.do(command, **{"topic": TOPICS[name][0], "stamp_ns": time.time_ns(), **fault})
    robot.wait_for_frames(name, before + 1, key)


def test_a_camera_that_sends_only_bad_images_is_an_error(robot, camera):
    def send_and_look():
        camera.do("image", topic=TOPICS["front"][0], stamp_ns=0)
        status = robot.diagnostic("cameras/front")
        return status.message.startswith("every frame is dropped") and status

    assert robot.wait_for(send_and_look, "an error").level == DiagnosticStatus.ERROR


def test_a_truncated_image_that_only_decoding_finds_ends_the_question_with_its_code(robot, camera):
    """The file's start is whole, so it is kept; what is asked about it cannot be answered."""
    before = count(robot, "rear", "dropped")
    camera.do("file", topic=TOPICS["rear"][0], stamp_ns=time.time_ns(), form="png", keep=130)
    robot.wait_for(lambda: count(robot, "rear", "received") > 0)
    outcome = robot.query(prompt="x", cameras=["rear"], sampling=1, max_frames=1)
    assert outcome.error_code in (ErrorCode.NONE, ErrorCode.INVALID_IMAGE)
    robot.wait_for_frames("rear", before + 1, "dropped")


def test_the_buffer_keeps_to_its_bytes(robot, camera):
    before = count(robot, "front", "received")

    def thirty_more_arrived():
        camera.do("image", topic=TOPICS["front"][0], stamp_ns=time.time_ns())
        return int(robot.value("cameras/front", "received")) >= before + 30

    robot.wait_for(thirty_more_arrived, "thirty more frames")
    assert count(robot, "front", "bytes held") <= 10 * 64 * 48 * 3
    assert count(robot, "front", "frames held") == 9


def test_no_publisher_is_said(robot, camera):
    status = robot.wait_for(
        lambda: (
            (s := robot.diagnostic("cameras/silent")) and s.level == DiagnosticStatus.ERROR and s
        )
    )
    assert "no publisher on /silent/image_raw" in status.message


@pytest.mark.parametrize(
    ("advertised", "says"),
    [
        ({"kind": "image", "reliability": "reliable"}, "LARGE_DATA"),
        ({"kind": "compressed"}, "it offers sensor_msgs/msg/CompressedImage"),
    ],
)
def test_a_publisher_from_which_nothing_arrives_is_said_and_why(robot, camera, advertised, says):
    camera.do("advertise", topic="/silent/image_raw", **advertised)

    def says_it():
        status = robot.diagnostic("cameras/silent")
        return says in status.message and status

    status = robot.wait_for(says_it, says)
    assert status.level == DiagnosticStatus.ERROR
    assert "publisher present, no frame arrives" in status.message
    # Its node's name may be found later than the publisher.
    robot.wait_for(lambda: robot.value("cameras/silent", "publisher /camera_publisher"), "its name")
    camera.do("withdraw", topic="/silent/image_raw")


def test_an_inactive_node_receives_nothing(robot, camera):
    robot.transition("deactivate")
    camera.do("matched", topic=TOPICS["front"][0], count=0)
    status = robot.fresh_diagnostic("cameras/front")
    assert status.level == DiagnosticStatus.STALE
    assert robot.value("cameras/front", "frames held") == "0"
    robot.activate()
    robot.link(camera, TOPICS["front"][0], "front")
    camera.do("image", topic=TOPICS["front"][0], stamp_ns=time.time_ns())
    robot.wait_for_frames("front", 1, "frames held")
