# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera has one topic and one name, the same for every verb and for the node."""

from __future__ import annotations

import pytest

from test.bags.conftest import SPEED
from vila_ros.bags.compressed_image import COMPRESSED_IMAGE, serialize_compressed_image
from vila_ros.bags.recorded_cameras import (
    CAMERA_NAME,
    MAX_CAMERAS,
    camera_of_topic,
    image_topics,
    recorded_cameras,
    watched_cameras,
)
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize_float32
from vila_ros.bags.types import RecordedMessage
from vila_ros.errors import InvalidRequest

RAW = "sensor_msgs/msg/Image"


@pytest.fixture
def recorded(bag):
    """A recording with a message on each topic; raw where it does not end in "compressed"."""

    def make(*topics: str):
        image = serialize_compressed_image(1, "x", "jpeg", b"")
        messages = [
            RecordedMessage(
                topic, COMPRESSED_IMAGE if topic.endswith("/compressed") else RAW, 1, image
            )
            for topic in topics
        ]
        messages.append(RecordedMessage(SPEED, "std_msgs/msg/Float32", 1, serialize_float32(0.0)))
        return open_recording(bag(messages))

    return make


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/front/image_raw/compressed"], ["front"]),
        (["/front/image", "/rear/image"], ["front", "rear"]),
        (["/cam/left", "/cam/right", "/zed/x"], ["cam_left", "cam_right", "zed_x"]),
        (["/camera/color/image_raw"], ["camera_color"]),
        (["/_0/image", "/_1/image"], ["camera_0", "camera_1"]),
        (["/image_raw"], ["image_raw"]),
        (["/a/b/image", "/a_b/image"], ["a_b", "a_b_2"]),
        (
            ["/vehicle/sensors/camera_front_left/image_raw/compressed"],
            ["sensors_camera_front_left"],
        ),
        ([f"/{'x' * 40}/image"], ["x" * 32]),
    ],
)
def test_cameras_are_named_after_their_topics(recorded, topics, names):
    cameras = recorded_cameras(recorded(*topics))
    assert [(camera.name, camera.topic) for camera in cameras] == list(
        zip(names, topics, strict=True)
    )
    assert all(CAMERA_NAME.fullmatch(camera.name) for camera in cameras)
    kind = "compressed" if topics[0].endswith("compressed") else "image"
    assert cameras[0].argument == f"{names[0]}:={topics[0]}:{kind}"


@pytest.mark.parametrize(
    ("topics", "chosen"),
    [
        (["/front/image_raw", "/front/image_raw/compressed"], "/front/image_raw/compressed"),
        (["/front/image_raw/compressed", "/front/image_rect"], "/front/image_raw/compressed"),
        (["/front/image_raw", "/front/image_rect"], "/front/image_rect"),
        (["/image_raw", "/image_raw/compressed"], "/image_raw/compressed"),
    ],
)
def test_of_a_camera_with_several_topics_one_is_taken_compressed_ones_first(
    recorded, topics, chosen
):
    recording = recorded(*topics)
    assert [camera.topic for camera in image_topics(recording)] == topics
    (camera,) = recorded_cameras(recording)
    assert camera.topic == chosen


def test_depth_is_no_camera_unless_there_is_nothing_else(recorded):
    depth = "/camera/depth/image_rect_raw"
    (colour,) = recorded_cameras(recorded("/camera/color/image_raw", depth))
    assert colour.name == "camera_color"


def test_a_topic_that_only_sounds_like_depth_is_found_where_it_is_alone(recorded):
    (camera,) = recorded_cameras(recorded("/depth_cam/image_raw"))
    assert camera.name == "depth_cam"


def test_a_node_watches_so_many_at_most(recorded):
    recording = recorded(*(f"/cam{number}/image" for number in range(MAX_CAMERAS + 1)))
    assert len(recorded_cameras(recording)) == MAX_CAMERAS + 1
    assert watched_cameras(recording) == recorded_cameras(recording)[:MAX_CAMERAS]


def test_a_recording_without_cameras_is_refused(recorded):
    with pytest.raises(InvalidRequest, match=r"no topic of sensor_msgs.*it has /speed \(std_msgs"):
        recorded_cameras(recorded())


def test_a_topic_is_a_camera_again_by_a_name_that_was_noted(recorded):
    recording = recorded("/front/image")
    camera = camera_of_topic(recording, "/front/image", "ahead")
    assert camera is not None
    assert (camera.name, camera.kind.value) == ("ahead", RAW)
    assert camera_of_topic(recording, SPEED, "ahead") is None
    assert camera_of_topic(recording, "/rear/image", "rear") is None
