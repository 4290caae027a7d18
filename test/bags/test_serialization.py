# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as bytes, the same bytes that others write."""

from __future__ import annotations

import numpy as np
import pytest

from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    camera_topic,
    image_format,
    serialize_compressed_image,
)
from vila_ros.bags.serialization import (
    deserialize,
    serialize,
    serialize_float32,
    standard_types,
    typestore_with,
)
from vila_ros.bags.types import RecordedMessage
from vila_ros.errors import InvalidRecording


@pytest.mark.parametrize("frame_id", ["", "a", "abc", "front_optical", "kamera_ä"])
@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_a_compressed_image_has_the_bytes_that_the_library_writes(frame_id, image_format):
    types = standard_types().types
    header = types["std_msgs/msg/Header"](types["builtin_interfaces/msg/Time"](7, 89), frame_id)
    data = np.arange(100, dtype=np.uint8)
    message = types[COMPRESSED_IMAGE](header, image_format, data)
    written = serialize_compressed_image(7_000_000_089, frame_id, image_format, data.tobytes())
    assert written == serialize(message, COMPRESSED_IMAGE)


def test_a_float_has_the_bytes_that_the_library_writes():
    message = standard_types().types["std_msgs/msg/Float32"](1.5)
    assert serialize_float32(1.5) == serialize(message, "std_msgs/msg/Float32")


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"\xff\xd8\xff\xe0", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF89a", ""), (b"", "")],
)
def test_formats_are_known_by_their_first_bytes(data, name):
    assert image_format(data) == name


@pytest.mark.parametrize(
    ("camera", "topic"),
    [
        ("front", "/front"),
        ("front left", "/front_left"),
        ("0", "/_0"),
        ("ü-1", "/__1"),
        ("", "/camera"),
    ],
)
def test_a_cameras_topic_is_a_valid_name(camera, topic):
    assert camera_topic(camera) == f"{topic}/image_raw/compressed"


@pytest.mark.parametrize("length", [0, 3, 9, 20])
def test_truncated_messages_are_refused_with_their_place(length):
    data = serialize_compressed_image(7, "front", "jpeg", b"x" * 100)[:length]
    with pytest.raises(InvalidRecording, match=rf"/cam at 7: {length} bytes are no sensor_msgs"):
        deserialize(RecordedMessage("/cam", COMPRESSED_IMAGE, 7, data))


def test_definitions_in_both_languages():
    idl = "=" * 80 + (
        "\nIDL: robot/msg/Wheel\nmodule robot { module msg { struct Wheel { double speed; }; }; };"
    )
    store = typestore_with({"robot/msg/Wheel": idl})
    wheel = store.types["robot/msg/Wheel"](0.5)
    data = serialize(wheel, "robot/msg/Wheel", store)
    assert deserialize(RecordedMessage("/w", "robot/msg/Wheel", 0, data), store).speed == 0.5
    with pytest.raises(InvalidRecording, match="definition of robot/msg/Bad cannot be parsed"):
        typestore_with({"robot/msg/Bad": "float64 ) no"})
