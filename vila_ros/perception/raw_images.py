# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of sensor_msgs/Image: one result, whichever library converts the colours.

The conversion is cv_bridge's on a robot that has it, rosbags-image's elsewhere. Both leave cases
out, so an image is first made plain, 8 bits and without padding, and then only its colours are
converted, which both do by the same call of OpenCV. What differs between them, and what is held to
here (read in vision_opencv's cv_bridge/src/cv_bridge.cpp and cv_bridge/python/cv_bridge/core.py,
and in rosbags/image/image.py 0.10):

- Padded rows. rosbags-image takes step for width times channels; cv_bridge's Python side cuts step
  to whole pixels. Here a row starts at every step, whatever its size.
- 16 bits to 8. cv_bridge rounds value * 255 / 65535, rosbags-image cuts it off. Here: rounded.
- Big endian. cv_bridge's Python side uses an array method that numpy 2 no longer has. Here: numpy
  reads the message's byte order.
- uyvy and yuyv. cv_bridge's older releases know them only as yuv422 and yuv422_yuy2.
- Wrong sizes. rosbags-image does not look; cv_bridge's C++ side refuses, and so does this.

Both refuse to call 8UC3 and its like a colour, and so does this. Depth images (16UC1, 32FC1) are
refused too: what their values mean as brightness depends on the range that matters to a task, and a
guess would show the model a picture that nobody has looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from vila_ros.engine.interface import RgbImage
from vila_ros.perception.cdr import ImageView
from vila_ros.perception.image_files import MAX_PIXELS, check_pixels, to_8_bit
from vila_ros.perception.types import DropReason, RefusedImage


@dataclass(frozen=True, slots=True)
class Encoding:
    """How an encoding of sensor_msgs/image_encodings.hpp lays out a pixel.

    plain: the 8-bit encoding to which it is brought, by a name that every converter knows.
    brightness: the channel that says most about how bright a pixel is.
    """

    channels: int
    bytes_per_channel: int
    plain: str
    brightness: int = 0

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel."""
        return self.channels * self.bytes_per_channel


_BAYER = ("bayer_rggb", "bayer_bggr", "bayer_gbrg", "bayer_grbg")
_COLOURS = (("rgb", 3), ("bgr", 3), ("rgba", 4), ("bgra", 4))
ENCODINGS = {
    "mono8": Encoding(1, 1, "mono8"),
    "mono16": Encoding(1, 2, "mono8"),
    **{f"{name}8": Encoding(n, 1, f"{name}8", brightness=1) for name, n in _COLOURS},
    **{f"{name}16": Encoding(n, 2, f"{name}8", brightness=1) for name, n in _COLOURS},
    **{f"{name}8": Encoding(1, 1, f"{name}8") for name in _BAYER},
    **{f"{name}16": Encoding(1, 2, f"{name}8") for name in _BAYER},
    "yuv422": Encoding(2, 1, "yuv422", brightness=1),
    "uyvy": Encoding(2, 1, "yuv422", brightness=1),
    "yuv422_yuy2": Encoding(2, 1, "yuv422_yuy2"),
    "yuyv": Encoding(2, 1, "yuv422_yuy2"),
}
_DEPTH = frozenset(("16UC1", "32FC1", "16SC1", "32SC1", "64FC1", "16U", "32F"))


@dataclass(frozen=True, slots=True, eq=False)
class PlainImage:
    """An image as both converters take it: the fields of sensor_msgs/Image, no padding, 8 bits.

    data: uint8 [height * step].
    """

    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: np.ndarray


Converter = Callable[[PlainImage], np.ndarray]


def check_layout(image: ImageView, max_pixels: int = MAX_PIXELS) -> Encoding:
    """The encoding of an image whose fields and data fit each other.

    Raises RefusedImage: UNKNOWN_ENCODING, WRONG_SIZE or TOO_MANY_PIXELS.
    """
    encoding = ENCODINGS.get(image.encoding)
    if encoding is None:
        raise RefusedImage(DropReason.UNKNOWN_ENCODING, _unknown(image.encoding))
    check_pixels(image.width, image.height, max_pixels)
    row = image.width * encoding.pixel_bytes
    if image.step < row:
        raise RefusedImage(
            DropReason.WRONG_SIZE,
            f"step is {image.step}; {image.width} pixels of {image.encoding} need {row} bytes.",
        )
    if image.step * image.height != len(image.data):
        raise RefusedImage(
            DropReason.WRONG_SIZE,
            f"data has {len(image.data)} bytes; height {image.height} times step {image.step} is "
            f"{image.step * image.height}.",
        )
    if encoding.plain.startswith("yuv422") and image.width % 2:
        raise RefusedImage(
            DropReason.WRONG_SIZE,
            f"width is {image.width}; {image.encoding} holds its pixels in pairs.",
        )
    return encoding


def read_pixels(image: ImageView, encoding: Encoding) -> np.ndarray:
    """The pixels where they lie, [H, W, channels], without padding, of the message's byte order."""
    order = ">" if image.is_bigendian else "<"
    size = encoding.bytes_per_channel
    return np.ndarray(
        (image.height, image.width, encoding.channels),
        dtype=f"{order}u{size}",
        buffer=image.data,
        strides=(image.step, encoding.pixel_bytes, size),
    )


def to_rgb(
    image: ImageView,
    max_pixels: int = MAX_PIXELS,
    converter: Converter | None = None,
    *,
    own: bool = True,
) -> RgbImage:
    """The image in RGB; by the converter of this machine unless one is given.

    own: in memory of its own. Without, pixels that are RGB already are given where they lie in the
    message, not to be written, and their rows may be padded.

    Raises RefusedImage as check_layout, and with UNDECODABLE where OpenCV refuses.
    """
    encoding = check_layout(image, max_pixels)
    pixels = read_pixels(image, encoding)
    if image.encoding == "rgb8" and not own:
        return pixels
    if encoding.bytes_per_channel == 2:
        pixels = to_8_bit(pixels)
    plain = PlainImage(
        height=image.height,
        width=image.width,
        encoding=encoding.plain,
        is_bigendian=sys.byteorder == "big",
        step=image.width * encoding.channels,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
    try:
        converted = (converter or converter_of_this_machine())(plain)
    except cv2.error as error:
        raise RefusedImage(
            DropReason.UNDECODABLE,
            f"{image.width}x{image.height} pixels of {image.encoding} cannot be converted: {error}",
        ) from None
    return np.require(converted, np.uint8, ["C_CONTIGUOUS", "OWNDATA", "WRITEABLE"])


@cache
def converter_of_this_machine() -> Converter:
    """cv_bridge's conversion where it can be imported, else rosbags-image's."""
    return cv_bridge_converter() or rosbags_converter()


def cv_bridge_converter() -> Converter | None:
    """cv_bridge's conversion; None where it is absent, or built for another numpy."""
    try:
        from cv_bridge import CvBridge
        from cv_bridge.boost import cv_bridge_boost  # noqa: F401  CvBridge imports it too late
    except (ImportError, AttributeError, SystemError):
        return None
    bridge = CvBridge()
    return lambda image: bridge.imgmsg_to_cv2(image, "rgb8")


def rosbags_converter() -> Converter:
    """rosbags-image's conversion."""
    from rosbags.image import image_to_cvimage

    return lambda image: image_to_cvimage(image, "rgb8")


def _unknown(encoding: str) -> str:
    if encoding in _DEPTH:
        return (
            f"encoding {encoding} holds measurements such as depth, not a picture; take the colour "
            "topic, or publish it as mono8 scaled to the range that matters."
        )
    return f"encoding is {encoding!r}; known are {', '.join(sorted(ENCODINGS))}."
