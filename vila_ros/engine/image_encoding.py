# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels to a JPEG or PNG file, as an engine that takes files wants them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import EncodedImages, RgbImage
from vila_ros.errors import InvalidImage

# Level 1 is lossless as every level, and several times faster than the default.
_PNG_LEVEL = 1


def encode_image(pixels: RgbImage, wanted: EncodedImages) -> NDArray[np.uint8]:
    """The bytes of the file, uint8 [n]. pixels: uint8 RGB, [H, W, 3]. Raises InvalidImage."""
    height, width = pixels.shape[:2]
    scale = wanted.max_side / max(height, width)
    if 0 < scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    png = wanted.media_type == "image/png"
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    if not png:
        options = [cv2.IMWRITE_JPEG_QUALITY, wanted.quality]
    try:
        done, data = cv2.imencode(".png" if png else ".jpg", bgr, options)
    except cv2.error:
        done = False
    if not done:
        raise InvalidImage(f"{width}x{height} pixels cannot be encoded as {wanted.media_type}.")
    return np.asarray(data, np.uint8)
