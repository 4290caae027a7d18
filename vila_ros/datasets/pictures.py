# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera's message to the bytes of a picture file, copied where that is possible.

A JPEG or PNG inside a message is copied byte for byte; nothing is decoded. A raw image is encoded
as JPEG. A picture that the blurring hook changed is encoded anew, any other is left as it was.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import cv2
import numpy as np

from vila_ros.datasets.blurring import PictureSource, blurred
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidImage
from vila_ros.perception import raw_images
from vila_ros.perception.cdr import ImageView, read_compressed_image, read_image
from vila_ros.perception.image_files import FileFormat, decode_file
from vila_ros.perception.images import inspect_compressed
from vila_ros.perception.types import Frame, MessageKind

_scratch = threading.local()
_SUFFIXES = {FileFormat.JPEG: ".jpg", FileFormat.PNG: ".png"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How pictures are written. quality: of JPEG, 1 to 100. hook: "module:function" or ""."""

    quality: int = 95
    hook: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture file's content. copied: the recording's bytes. blurred: the hook changed it."""

    data: bytes | memoryview
    suffix: str
    width: int
    height: int
    copied: bool = False
    blurred: bool = False


def picture_of(frame: Frame, encoding: Encoding, source: PictureSource) -> Picture:
    """The file for a frame. Raises RefusedImage for a damaged one, BlurFailed by the hook."""
    if frame.kind is MessageKind.IMAGE:
        return _encoded(read_image(frame.data), encoding, source)
    view = read_compressed_image(frame.data)
    file = inspect_compressed(view)
    if encoding.hook:
        changed = blurred(encoding.hook, decode_file(view.data), source)
        if changed is not None:
            data = encode_rgb(changed, encoding.quality)
            return Picture(data, ".jpg", file.width, file.height, blurred=True)
    return Picture(view.data, _SUFFIXES[file.format], file.width, file.height, copied=True)


def _encoded(view: ImageView, encoding: Encoding, source: PictureSource) -> Picture:
    """A raw image as a JPEG."""
    plain = raw_images.check_layout(view)
    changed = None
    if encoding.hook:
        rgb = raw_images.to_rgb(view)
        changed = blurred(encoding.hook, rgb, source)
        data = encode_rgb(rgb if changed is None else changed, encoding.quality)
    elif view.encoding in ("bgr8", "mono8"):
        # These are what the encoder takes: straight from the message, without a copy.
        data = _jpeg(raw_images.read_pixels(view, plain), encoding.quality)
    elif view.encoding == "rgb8":
        data = encode_rgb(raw_images.read_pixels(view, plain), encoding.quality)
    else:
        data = encode_rgb(raw_images.to_rgb(view), encoding.quality)
    return Picture(data, ".jpg", view.width, view.height, blurred=changed is not None)


def encode_rgb(pixels: RgbImage, quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    # Into the same memory each time: the system need not give new pages for every picture.
    bgr = getattr(_scratch, "bgr", None)
    if bgr is None or bgr.shape != pixels.shape:
        bgr = _scratch.bgr = np.empty(pixels.shape, np.uint8)
    cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR, dst=bgr)
    return _jpeg(bgr, quality)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """uint8 BGR [H, W, 3] or grey [H, W, 1] as a JPEG file (OpenCV brings libjpeg-turbo)."""
    try:
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise InvalidImage(f"{width}x{height} pixels cannot be encoded as JPEG: {error}") from error
    return data.data  # type: ignore[no-any-return]
