# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images and clips named on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vila_ros.engine.interface import ImagePart, Part, RgbImage
from vila_ros.errors import InvalidImage

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})


def read_media(path: Path, frames: int) -> tuple[Part, ...]:
    """The images of a file: one picture, or `frames` of a video. Raises InvalidImage."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return tuple(ImagePart(frame) for frame in read_video(path, frames))
    return (ImagePart(read_image(path)),)


def read_image(path: Path) -> RgbImage:
    """A picture file, turned upright by its EXIF orientation. Raises InvalidImage."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"), dtype=np.uint8))
    except FileNotFoundError:
        raise InvalidImage(f"{path}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"{path}: not a readable picture ({error})") from None


def read_video(path: Path, count: int) -> list[RgbImage]:
    """`count` frames of a video, evenly spread from the first to the last; all of a shorter one.

    Every frame is decoded to count them, as containers' own counts are often missing or wrong, but
    only those kept are converted. Raises InvalidImage.
    """
    import av

    if not path.exists():
        raise InvalidImage(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            total = sum(1 for _ in container.decode(video=0))
        wanted = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
        with av.open(str(path)) as container:
            frames = [
                frame.to_ndarray(format="rgb24")
                for index, frame in enumerate(container.decode(video=0))
                if index in wanted
            ]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise InvalidImage(f"{path}: not a readable video ({error})") from None
    if not frames:
        raise InvalidImage(f"{path}: a video without frames")
    return [np.ascontiguousarray(frame) for frame in frames]
