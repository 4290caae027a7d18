# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images and clips named on the command line."""

from __future__ import annotations

from pathlib import Path

from vila_ros.datasets.reading.pictures import read_picture, video_frames
from vila_ros.datasets.types import ImageSource
from vila_ros.engine.interface import ImagePart, Part, RgbImage

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


def read_media(path: Path, frames: int) -> tuple[Part, ...]:
    """The images of a file: one picture, or `frames` of a video. Raises InvalidImage."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return tuple(ImagePart(frame) for frame in read_video(path, frames))
    return (ImagePart(read_image(path)),)


def read_image(path: Path) -> RgbImage:
    """A picture file, turned upright by its EXIF orientation. Raises InvalidImage."""
    return read_picture(ImageSource(path=path))


def read_video(path: Path, count: int) -> list[RgbImage]:
    """`count` frames of a video, evenly spread from the first to the last; all of a shorter one.

    Raises InvalidImage.
    """
    frames = video_frames(path, count)
    return list({id(frame): frame for frame in frames}.values())  # those of a short one repeat
