# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera's message to the bytes of a picture file: copied where that is possible.

A JPEG or PNG inside a message is copied byte for byte; nothing is decoded. A raw image is encoded
as JPEG. A picture that the blurring hook changed is encoded anew, any other is left as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vila_ros.datasets.blurring import PictureSource, blurred
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidImage
from vila_ros.perception import raw_images
from vila_ros.perception.cdr import ImageView
from vila_ros.perception.image_files import FileFormat, decode_file, inspect_file
from vila_ros.perception.images import inspect_message
from vila_ros.perception.types import Frame

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
    view = inspect_message(frame.kind, frame.data)
    if isinstance(view, ImageView):
        if not encoding.hook and view.encoding in ("bgr8", "mono8"):
            # These are what the encoder takes: straight from the message, without a copy.
            pixels = raw_images.read_pixels(view, raw_images.ENCODINGS[view.encoding])
            return Picture(_jpeg(pixels, encoding.quality), ".jpg", view.width, view.height)
        rgb = raw_images.to_rgb(view) if encoding.hook or view.encoding != "rgb8" else None
        if rgb is None:
            rgb = raw_images.read_pixels(view, raw_images.ENCODINGS["rgb8"])
        changed = blurred(encoding.hook, rgb, source) if encoding.hook else None
        data = encode_rgb(rgb if changed is None else changed, encoding.quality)
        return Picture(data, ".jpg", view.width, view.height, blurred=changed is not None)
    file = inspect_file(view.data)
    if encoding.hook:
        changed = blurred(encoding.hook, decode_file(view.data), source)
        if changed is not None:
            data = encode_rgb(changed, encoding.quality)
            return Picture(data, ".jpg", file.width, file.height, blurred=True)
    return Picture(view.data, _SUFFIXES[file.format], file.width, file.height, copied=True)


def encode_rgb(pixels: RgbImage, quality: int) -> bytes:
    """uint8 RGB [H, W, 3] as a JPEG file."""
    return _jpeg(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    """uint8 BGR [H, W, 3] or grey [H, W, 1] as a JPEG file (OpenCV brings libjpeg-turbo)."""
    try:
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise InvalidImage(f"{width}x{height} pixels cannot be encoded as JPEG: {error}") from error
    return data.data  # type: ignore[no-any-return]
