# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small pictures of what was seen, for people who read a report."""

from __future__ import annotations

from pathlib import Path

from vila_ros.perception.images import decode_frame
from vila_ros.perception.jpeg import encode_jpeg, smaller
from vila_ros.perception.types import Frame, RefusedImage

WIDTH = 320
_QUALITY = 80


class Thumbnails:
    """Writes frames as small JPEG files, each once, up to a number of them."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._kept: set[str] = set()

    def keep(self, frame: Frame | None) -> str:
        """The file name of a frame's picture, "" where there is none."""
        if frame is None:
            return ""
        name = f"{frame.camera}@{frame.stamp_ns}.jpg"
        if name in self._kept:
            return name
        if len(self._kept) >= self._most:
            return ""
        try:
            pixels = decode_frame(frame)
        except RefusedImage:
            return ""
        self._folder.mkdir(exist_ok=True)
        (self._folder / name).write_bytes(encode_jpeg(smaller(pixels, WIDTH), _QUALITY))
        self._kept.add(name)
        return name
