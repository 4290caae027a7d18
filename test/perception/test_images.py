# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From messages to pixels."""

import numpy as np
import pytest

from test.perception.messages import (
    START,
    compressed_frame,
    compressed_message,
    image_frame,
    image_message,
    jpeg,
    plain,
    png,
    scene,
)
from vila_ros.perception.image_files import decode_file
from vila_ros.perception.images import THUMBNAIL_SIZE, decode_frame, inspect_message, thumbnail
from vila_ros.perception.types import DropReason, MessageKind, RefusedImage


def test_raw_and_compressed_frames_become_the_same_pixels():
    rgb = scene()
    assert np.array_equal(decode_frame(image_frame(rgb)), rgb)
    assert np.array_equal(decode_frame(compressed_frame(png(rgb), "png")), rgb)


@pytest.mark.parametrize(
    "layout",
    ["jpeg", "jpg", "", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed bgr8", "png"],
)
def test_the_content_of_a_compressed_image_decides_and_not_its_format(layout):
    file = jpeg(scene())
    assert np.array_equal(decode_frame(compressed_frame(file, layout)), decode_file(file))


@pytest.mark.parametrize(
    "layout",
    ["mono16; compressedDepth png", "32FC1; compressedDepth rvl", "16UC1; png compressed "],
)
def test_compressed_depth_is_refused(layout):
    with pytest.raises(RefusedImage) as caught:
        decode_frame(compressed_frame(png(scene()), layout))
    assert caught.value.reason is DropReason.UNKNOWN_ENCODING
    assert layout in caught.value.message


def test_an_error_names_the_camera_and_the_frame():
    frame = compressed_frame(b"nonsense", camera="rear", stamp_ns=START + 250_000_000)
    with pytest.raises(RefusedImage, match=r"Camera 'rear', frame of 1000\.250 s: ") as caught:
        decode_frame(frame)
    assert caught.value.reason is DropReason.UNKNOWN_ENCODING
    with pytest.raises(RefusedImage, match=r"Camera 'rear', frame of 1000\.250 s: "):
        thumbnail(frame)


def test_the_limit_of_pixels_holds_for_every_kind():
    rgb = scene(20, 30)
    for frame in (image_frame(rgb), compressed_frame(jpeg(rgb)), compressed_frame(png(rgb))):
        assert decode_frame(frame, max_pixels=600).shape == (20, 30, 3)
        for call in (decode_frame, thumbnail):
            with pytest.raises(RefusedImage) as caught:
                call(frame, max_pixels=599)
            assert caught.value.reason is DropReason.TOO_MANY_PIXELS


def test_a_message_is_inspected_without_decoding_it():
    damaged = bytearray(jpeg(scene(96, 128)))
    damaged[-400:-2] = bytes(398)
    view = inspect_message(MessageKind.COMPRESSED_IMAGE, compressed_message(bytes(damaged)))
    assert view.stamp_ns == START
    with pytest.raises(RefusedImage):
        inspect_message(MessageKind.IMAGE, image_message(scene(), step=3))


@pytest.mark.parametrize(
    "frame",
    [
        lambda rgb: image_frame(rgb, "rgb8"),
        lambda rgb: image_frame(rgb[..., 1], "mono8"),
        lambda rgb: image_frame(rgb[..., 1].astype(np.uint16) * 257, "mono16"),
        lambda rgb: image_frame(rgb[..., 1], "bayer_rggb8"),
        lambda rgb: image_frame(np.dstack([rgb[..., 1]] * 2), "uyvy"),
        lambda rgb: compressed_frame(jpeg(np.dstack([rgb[..., 1]] * 3))),
        lambda rgb: compressed_frame(png(rgb[..., 1])),
    ],
    ids=["rgb8", "mono8", "mono16", "bayer", "uyvy", "jpeg", "png"],
)
def test_a_thumbnail_is_a_small_grey_picture_of_the_same_scene(frame):
    rgb = scene(240, 320)
    small = thumbnail(frame(rgb))
    assert small.shape == THUMBNAIL_SIZE
    assert small.dtype == np.uint8
    height, width = THUMBNAIL_SIZE
    blocks = rgb[..., 1].reshape(height, 240 // height, width, 320 // width).mean(axis=(1, 3))
    assert np.abs(small - blocks).mean() < 4


def test_thumbnails_of_tiny_and_padded_images():
    assert thumbnail(image_frame(plain((9, 9, 9), 1, 1))).shape == THUMBNAIL_SIZE
    rgb = plain((50, 60, 70), 3, 4)
    rows = np.hstack([rgb.reshape(3, 12), np.full((3, 5), 255, np.uint8)])
    assert (thumbnail(image_frame(rows, width=4, step=17)) == 60).all()


def test_the_thumbnail_of_a_bayer_image_sees_one_colour_alone():
    """Else a picture of one colour would look like noise, and every picture like every other."""
    pattern = np.tile(np.array([[200, 100], [100, 0]], np.uint8), (100, 150))
    assert len(np.unique(thumbnail(image_frame(pattern, "bayer_rggb8")))) == 1
