# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fields of serialized images, read in place."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.perception.messages import compressed_message, image_message, scene
from vila_ros.perception.cdr import (
    MAX_STRING_BYTES,
    read_compressed_image,
    read_header,
    read_image,
)
from vila_ros.perception.types import DropReason, RefusedImage

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
STAMPS = st.integers(-(2**31) * 10**9, (2**31 - 1) * 10**9 + 999_999_999)
ORDERS = st.booleans()


def refusal(read, data):
    with pytest.raises(RefusedImage) as caught:
        read(data)
    return caught.value


@given(NAMES, NAMES, STAMPS, ORDERS, st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_every_field_of_an_image_is_read(
    frame_id, encoding, stamp, little, height, width, bigendian
):
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    data = image_message(
        pixels, encoding, stamp, frame_id, is_bigendian=bigendian, little_endian=little
    )
    assert read_header(data) == (stamp, frame_id)
    view = read_image(data)
    assert (view.stamp_ns, view.frame_id, view.encoding) == (stamp, frame_id, encoding)
    assert (view.height, view.width, view.step) == (height, width, width)
    assert view.is_bigendian is bigendian
    assert view.data == pixels.tobytes()


@given(NAMES, NAMES, STAMPS, ORDERS, st.binary(min_size=1, max_size=40))
def test_every_field_of_a_compressed_image_is_read(frame_id, layout, stamp, little, payload):
    data = compressed_message(payload, layout, stamp, frame_id, little_endian=little)
    assert read_header(data) == (stamp, frame_id)
    view = read_compressed_image(data)
    assert (view.stamp_ns, view.frame_id, view.format) == (stamp, frame_id, layout)
    assert view.data == payload


def test_pixels_are_not_copied():
    data = image_message(scene())
    view = read_image(data).data
    assert view.obj is data
    assert np.shares_memory(np.frombuffer(view, np.uint8), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize(
    ("write", "read"),
    [
        (lambda little: image_message(scene(4, 4), little_endian=little), read_image),
        (lambda little: compressed_message(b"12345", little_endian=little), read_compressed_image),
    ],
)
def test_a_message_cut_anywhere_is_refused(write, read, little):
    data = write(little)
    for length in range(1, len(data)):
        assert refusal(read, data[:length]).reason is DropReason.MALFORMED
    assert refusal(read, b"").reason is DropReason.EMPTY


@pytest.mark.parametrize("read", [read_image, read_compressed_image, read_header])
@given(data=st.binary(max_size=200), start=st.sampled_from([b"", b"\0\1\0\0", b"\0\0\0\0"]))
def test_any_bytes_are_read_or_refused(read, data, start):
    with suppress(RefusedImage):
        read(start + data)


@given(st.data())
def test_a_message_with_any_byte_changed_is_read_or_refused(draw):
    data = bytearray(image_message(scene(2, 2)))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        view = read_image(bytes(data))
    except RefusedImage:
        return
    assert len(view.data) <= len(data)


def test_version_2_of_plain_cdr_is_read_and_others_are_refused():
    data = bytearray(image_message(scene(2, 2)))
    data[1] = 0x07
    assert read_image(bytes(data)).encoding == "rgb8"
    data[1] = 0x03  # a parameter list
    error = refusal(read_image, bytes(data))
    assert error.reason is DropReason.MALFORMED
    assert "00 03" in error.message


def test_a_length_beyond_the_message_is_refused_without_reading_it():
    data = bytearray(compressed_message(b"12345"))
    data[-9:-5] = (2**32 - 1).to_bytes(4, "little")
    error = refusal(read_compressed_image, bytes(data))
    assert error.reason is DropReason.MALFORMED
    assert str(2**32 - 1 + len(data) - 5) in error.message


def test_a_name_longer_than_any_real_one_is_refused():
    data = compressed_message(b"1", frame_id="x" * MAX_STRING_BYTES)
    error = refusal(read_header, data)
    assert str(MAX_STRING_BYTES + 1) in error.message
    assert str(MAX_STRING_BYTES) in error.message


def test_a_name_that_is_no_text_and_a_stamp_that_is_none_are_refused():
    data = bytearray(compressed_message(b"1", frame_id="ab"))
    data[16] = 0xFF
    assert "ff 62" in refusal(read_header, bytes(data)).message
    data = bytearray(compressed_message(b"1"))
    data[8:12] = (10**9).to_bytes(4, "little")
    assert "1000000000 nanoseconds" in refusal(read_header, bytes(data)).message


def test_an_image_without_data_is_empty():
    assert refusal(read_compressed_image, compressed_message(b"")).reason is DropReason.EMPTY


@pytest.mark.ros
def test_messages_serialized_by_ros_read_the_same():
    serialization = pytest.importorskip("rclpy.serialization")
    messages = pytest.importorskip("sensor_msgs.msg")
    image = messages.Image(height=2, width=3, encoding="mono8", is_bigendian=1, step=4)
    image.header.stamp.sec, image.header.stamp.nanosec = 12, 345
    image.header.frame_id = "left_optical"
    image.data = bytes(range(8))
    view = read_image(serialization.serialize_message(image))
    assert (view.stamp_ns, view.frame_id) == (12 * 10**9 + 345, "left_optical")
    assert (view.height, view.width, view.step, view.encoding) == (2, 3, 4, "mono8")
    assert view.is_bigendian
    assert view.data == bytes(range(8))
    compressed = messages.CompressedImage(format="bgr8; jpeg compressed bgr8", data=b"\xff\xd8abc")
    compressed.header = image.header
    view = read_compressed_image(serialization.serialize_message(compressed))
    assert (view.stamp_ns, view.frame_id) == (12 * 10**9 + 345, "left_optical")
    assert (view.format, bytes(view.data)) == ("bgr8; jpeg compressed bgr8", b"\xff\xd8abc")
