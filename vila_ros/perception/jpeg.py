# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures as JPEG files, and smaller, for people to look at."""

from __future__ import annotations

import cv2

from vila_ros.engine.interface import RgbImage


def encode_jpeg(pixels: RgbImage, quality: int) -> bytes:
    """RGB pixels as a JPEG file. quality: from 0 to 100."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def smaller(pixels: RgbImage, width: int) -> RgbImage:
    """The picture at a smaller width, unless it is that small already."""
    height, before = pixels.shape[:2]
    if before <= width:
        return pixels
    size = (width, max(1, round(height * width / before)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
