# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Raw images of every encoding give the pixels that cv_bridge gives, here written out by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.perception.messages import image_message, scene
from vila_ros.perception import raw_images
from vila_ros.perception.cdr import read_image
from vila_ros.perception.raw_images import ENCODINGS, check_layout, to_rgb
from vila_ros.perception.types import DropReason, RefusedImage

RGB = scene(12, 16)
GREY = RGB[..., 0]
ALPHA = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16, 1)
DEEP = np.random.default_rng(1).integers(0, 65536, (12, 16), np.uint16)
DEEP_RGB = np.random.default_rng(2).integers(0, 65536, (12, 16, 3), np.uint16)
TEXTURE = np.random.default_rng(3).integers(0, 256, (12, 16), np.uint8)


def rounded(deep: np.ndarray) -> np.ndarray:
    """16 bits to 8 as cv::Mat::convertTo(…, 255. / 65535.)."""
    return np.rint(deep * (255.0 / 65535.0)).astype(np.uint8)


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


def yuv_to_rgb(y, u, v):
    """ITU-R BT.601 of video range, as cv::cvtColor for YUV 4:2:2; u and v [H, W / 2]."""
    y, u, v = (
        1.164 * (y.astype(float) - 16),
        *(np.repeat(c, 2, 1).astype(float) - 128 for c in (u, v)),
    )
    rgb = np.dstack([y + 1.596 * v, y - 0.813 * v - 0.391 * u, y + 2.018 * u])
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def packed(first, second, third, fourth):
    """Pairs of pixels of four bytes: [H, W, 2]."""
    return np.dstack([first, second, third, fourth]).reshape(first.shape[0], -1, 2)


def mosaic(pattern: str, rgb: np.ndarray) -> np.ndarray:
    """What a sensor with this Bayer pattern sees of a picture; pattern as rggb, row by row."""
    seen = np.empty(rgb.shape[:2], rgb.dtype)
    for index, colour in enumerate(pattern):
        rows, columns = slice(index // 2, None, 2), slice(index % 2, None, 2)
        seen[rows, columns] = rgb[rows, columns, "rgb".index(colour)]
    return seen


def demosaiced(pattern: str, seen: np.ndarray) -> np.ndarray:
    """Bilinear interpolation inside a border of one pixel, halves rounded up; the border is 0."""
    rgb = np.zeros((*seen.shape, 3), np.uint8)
    for row in range(1, seen.shape[0] - 1):
        for column in range(1, seen.shape[1] - 1):
            for channel, colour in enumerate("rgb"):
                around = [
                    int(seen[row + i, column + j])
                    for i in (-1, 0, 1)
                    for j in (-1, 0, 1)
                    if pattern[(row + i) % 2 * 2 + (column + j) % 2] == colour
                ]
                own = pattern[row % 2 * 2 + column % 2] == colour
                value = (
                    seen[row, column] if own else (sum(around) + len(around) // 2) // len(around)
                )
                rgb[row, column, channel] = value
    return rgb


Y = np.random.default_rng(4).integers(16, 236, (12, 16), np.uint8)
U, V = np.random.default_rng(5).integers(64, 192, (2, 12, 8), np.uint8)
UYVY = packed(U, Y[:, ::2], V, Y[:, 1::2])
YUYV = packed(Y[:, ::2], U, Y[:, 1::2], V)

# encoding, pixels of the message, pixels expected, by how much they may differ
EXACT = [
    ("rgb8", RGB, RGB),
    ("bgr8", RGB[..., ::-1], RGB),
    ("rgba8", np.dstack([RGB, ALPHA]), RGB),
    ("bgra8", np.dstack([RGB[..., ::-1], ALPHA]), RGB),
    ("mono8", GREY, repeated(GREY)),
    ("mono16", DEEP, repeated(rounded(DEEP))),
    ("rgb16", DEEP_RGB, rounded(DEEP_RGB)),
    ("bgr16", DEEP_RGB[..., ::-1], rounded(DEEP_RGB)),
    ("rgba16", np.dstack([DEEP_RGB, DEEP]), rounded(DEEP_RGB)),
    ("bgra16", np.dstack([DEEP_RGB[..., ::-1], DEEP]), rounded(DEEP_RGB)),
]
VIDEO = [
    ("yuv422", UYVY, yuv_to_rgb(Y, U, V)),
    ("uyvy", UYVY, yuv_to_rgb(Y, U, V)),
    ("yuv422_yuy2", YUYV, yuv_to_rgb(Y, U, V)),
    ("yuyv", YUYV, yuv_to_rgb(Y, U, V)),
]
PATTERNS = ["rggb", "bggr", "gbrg", "grbg"]


def converted(pixels, encoding, **fields):
    return to_rgb(read_image(image_message(np.ascontiguousarray(pixels), encoding, **fields)))


def padded(pixels: np.ndarray, by: int) -> tuple[np.ndarray, int]:
    """The message's bytes [H, step], with rubbish behind each row."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rubbish = np.full((rows.shape[0], by), 0xAB, np.uint8)
    return np.hstack([rows, rubbish]), rows.shape[1] + by


@pytest.mark.parametrize(("encoding", "pixels", "expected"), EXACT, ids=lambda v: str(v)[:12])
def test_colours_grey_and_depth_of_16_bits(encoding, pixels, expected):
    image = converted(pixels, encoding)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.array_equal(image, expected)


@pytest.mark.parametrize(("encoding", "pixels", "expected"), VIDEO, ids=lambda v: str(v)[:12])
def test_video_pixels_in_both_orders(encoding, pixels, expected):
    difference = converted(pixels, encoding).astype(int) - expected
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bayer_patterns(pattern):
    inside = slice(1, -1), slice(1, -1)
    image = converted(TEXTURE, f"bayer_{pattern}8")
    assert np.array_equal(image[inside], demosaiced(pattern, TEXTURE)[inside])
    one_colour = np.full((12, 16, 3), (200, 120, 40), np.uint8)
    assert np.array_equal(converted(mosaic(pattern, one_colour), f"bayer_{pattern}8"), one_colour)
    deep = mosaic(pattern, one_colour).astype(np.uint16) * 257
    assert np.array_equal(converted(deep, f"bayer_{pattern}16"), one_colour)


@pytest.mark.parametrize("by", [1, 2, 5, 64])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"), [*EXACT, VIDEO[0]], ids=lambda v: str(v)[:12]
)
def test_padding_behind_rows_is_left_out(encoding, pixels, expected, by):
    rows, step = padded(pixels, by)
    image = converted(rows, encoding, width=16, step=step)
    assert np.array_equal(image, converted(pixels, encoding))


@pytest.mark.parametrize(("encoding", "pixels", "expected"), EXACT, ids=lambda v: str(v)[:12])
@pytest.mark.parametrize("little", [True, False])
def test_the_byte_order_of_pixels_is_that_of_the_message(encoding, pixels, expected, little):
    """It is the one of is_bigendian, whatever the order of the serialized fields."""
    swapped = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows, step = padded(swapped, 3)
    image = converted(rows, encoding, width=16, step=step, is_bigendian=True, little_endian=little)
    assert np.array_equal(image, expected)


def test_pixels_are_a_copy_that_may_be_written():
    message = image_message(RGB, "rgb8")
    image = to_rgb(read_image(message))
    assert image.flags.owndata
    image[:] = 0
    assert message == image_message(RGB, "rgb8")


def any_pixels(encoding: str) -> bytes:
    layout = ENCODINGS[encoding]
    depth = np.uint8 if layout.bytes_per_channel == 1 else np.uint16
    shape = (12, 16, layout.channels)
    pixels = np.random.default_rng(6).integers(0, np.iinfo(depth).max + 1, shape, depth)
    return image_message(pixels, encoding)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_both_converters_give_equal_pixels(encoding, cv_bridge_double):
    view = read_image(any_pixels(encoding))
    own = to_rgb(view, converter=raw_images.rosbags_converter())
    assert np.array_equal(to_rgb(view, converter=cv_bridge_double), own)


def test_cv_bridge_itself_gives_equal_pixels():
    bridge = raw_images.cv_bridge_converter()
    if bridge is None:
        pytest.skip("cv_bridge is not installed here")
    for encoding in ENCODINGS:
        view = read_image(any_pixels(encoding))
        own = to_rgb(view, converter=raw_images.rosbags_converter())
        assert np.array_equal(to_rgb(view, converter=bridge), own), encoding


@pytest.fixture(scope="module")
def cv_bridge_double():
    """cv_bridge's Python side as far as it is used, on OpenCV."""
    import cv2

    codes = {
        "rgb8": None,
        "bgr8": cv2.COLOR_BGR2RGB,
        "rgba8": cv2.COLOR_RGBA2RGB,
        "bgra8": cv2.COLOR_BGRA2RGB,
        "mono8": cv2.COLOR_GRAY2RGB,
        "yuv422": cv2.COLOR_YUV2RGB_UYVY,
        "yuv422_yuy2": cv2.COLOR_YUV2RGB_YUY2,
        "bayer_rggb8": cv2.COLOR_BayerBG2RGB,
        "bayer_bggr8": cv2.COLOR_BayerRG2RGB,
        "bayer_gbrg8": cv2.COLOR_BayerGR2RGB,
        "bayer_grbg8": cv2.COLOR_BayerGB2RGB,
    }

    def convert(message):
        channels = {"yuv422": 2, "yuv422_yuy2": 2, "rgba8": 4, "bgra8": 4, "rgb8": 3, "bgr8": 3}
        count = channels.get(message.encoding, 1)
        shape = (message.height, message.step // count, count)
        image = np.ndarray(shape, np.uint8, buffer=message.data)[:, : message.width]
        code = codes[message.encoding]
        return image if code is None else cv2.cvtColor(image, code)

    return convert


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "class CvBridge:\n    def imgmsg_to_cv2(self, message, encoding): return 'bridge'",
            "bridge",
        ),
        ("class CvBridge: pass\nraise AttributeError('_ARRAY_API not found')", "rosbags"),
        (None, "rosbags"),
    ],
    ids=["present", "built for another numpy", "absent"],
)
def test_cv_bridge_is_taken_where_it_can_be_imported(tmp_path: Path, body, expected):
    if body is not None:
        package = tmp_path / "cv_bridge"
        (package / "boost").mkdir(parents=True)
        (package / "__init__.py").write_text(body)
        (package / "boost" / "__init__.py").touch()
        (package / "boost" / "cv_bridge_boost.py").touch()
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from vila_ros.perception import raw_images\n"
        "convert = raw_images.converter_of_this_machine()\n"
        "module = 'rosbags' if raw_images.cv_bridge_converter() is None else convert(None)\n"
        "print(module)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == expected


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"step": 47}, DropReason.WRONG_SIZE, ["step is 47", "need 48 bytes"]),
        ({"step": 49}, DropReason.WRONG_SIZE, ["data has 576 bytes", "step 49 is 588"]),
        ({"height": 11}, DropReason.WRONG_SIZE, ["data has 576 bytes", "height 11"]),
        ({"height": 13}, DropReason.WRONG_SIZE, ["data has 576 bytes", "is 624"]),
        ({"width": 17}, DropReason.WRONG_SIZE, ["17 pixels of rgb8 need 51 bytes"]),
        ({"width": 0}, DropReason.WRONG_SIZE, ["0x12"]),
        ({"height": 0}, DropReason.WRONG_SIZE, ["16x0"]),
        ({"height": 2**31, "width": 2**31}, DropReason.TOO_MANY_PIXELS, ["at most 64."]),
    ],
)
def test_sizes_that_contradict_the_data_are_refused(fields, reason, said):
    with pytest.raises(RefusedImage) as caught:
        converted(RGB, "rgb8", **fields)
    assert caught.value.reason is reason
    assert all(words in caught.value.message for words in said)


def test_video_pixels_come_in_pairs():
    with pytest.raises(RefusedImage, match="width is 15; uyvy holds its pixels in pairs"):
        converted(np.zeros((2, 15, 2), np.uint8), "uyvy")


@pytest.mark.parametrize("encoding", ["8UC3", "nv21", "RGB8", "", "yuv444"])
def test_unknown_encodings_are_refused_with_those_known(encoding):
    with pytest.raises(RefusedImage) as caught:
        converted(RGB, encoding)
    assert caught.value.reason is DropReason.UNKNOWN_ENCODING
    assert repr(encoding) in caught.value.message
    assert "rgb8" in caught.value.message


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_is_no_picture(encoding):
    with pytest.raises(RefusedImage, match=f"encoding {encoding} holds measurements such as depth"):
        converted(DEEP, encoding)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
@pytest.mark.parametrize("side", [1, 2, 3])
def test_tiny_images_are_converted_or_refused(encoding, side):
    layout = ENCODINGS[encoding]
    view = read_image(
        image_message(np.zeros((side, side * layout.pixel_bytes), np.uint8), encoding, width=side)
    )
    if layout.plain.startswith("yuv") and side % 2:
        with pytest.raises(RefusedImage):
            check_layout(view)
    else:
        assert to_rgb(view).shape == (side, side, 3)
