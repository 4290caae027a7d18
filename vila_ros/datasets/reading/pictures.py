# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of the pictures and clips that samples name."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vila_ros.datasets.types import ClipSource, ImageSource
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidImage
from vila_ros.perception.image_files import to_8_bit

if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded."""
MAX_FILE_BYTES = 256_000_000
"""The largest picture file that is opened."""
KEPT_CLIPS = 2
"""Decoded video files kept, since a clip's frames are asked for one by one."""


def read_picture(source: ImageSource) -> RgbImage:
    """The pixels, turned upright by the EXIF orientation, without transparency, 16 bits as 8.

    Raises InvalidImage for a file that is missing, damaged, too large or no picture.
    """
    from PIL import Image, ImageOps

    with _open(source) as picture:
        try:
            return _rgb(ImageOps.exif_transpose(picture))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InvalidImage(f"{name_of(source)}: a damaged picture ({error})") from None


def _rgb(picture: Image) -> RgbImage:
    if picture.mode.startswith("I;16"):
        # Pillow's own conversion would cut all above 255 off, that is, make nearly all white.
        grey = to_8_bit(np.asarray(picture))
        return np.ascontiguousarray(np.broadcast_to(grey[..., None], (*grey.shape, 3)))
    return np.ascontiguousarray(np.asarray(picture.convert("RGB"), dtype=np.uint8))


def picture_size(source: ImageSource) -> tuple[int, int]:
    """(height, width) in pixels as read_picture gives it, from the header alone."""
    with _open(source) as picture:
        width, height = picture.size
        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF orientations on a side
        return (width, height) if turned else (height, width)


def read_clip(clip: ClipSource) -> tuple[RgbImage, ...]:
    """The frames of a clip in time order: those it names, or `count` of its video file."""
    if clip.path is not None:
        return _kept_frames(clip.path, clip.count)
    return tuple(read_picture(frame) for frame in clip.frames)


def read_frame(clip: ClipSource, index: int) -> RgbImage:
    """One frame of read_clip."""
    return read_clip(clip)[index] if clip.path is not None else read_picture(clip.frames[index])


def clip_length(clip: ClipSource) -> int:
    """How many frames read_clip gives."""
    return clip.count if clip.path is not None else len(clip.frames)


def name_of(source: ImageSource | ClipSource) -> str:
    """A name for messages to people."""
    if isinstance(source, ClipSource):
        return str(source.path) if source.path else f"a clip of {len(source.frames)} frames"
    return source.key or str(source.path or f"a picture of {len(source.data or b'')} bytes")


def _open(source: ImageSource) -> Image:
    from PIL import Image

    given: Any = BytesIO(source.data) if source.data is not None else source.path
    try:
        size = len(source.data) if source.data is not None else Path(given).stat().st_size
        if size > MAX_FILE_BYTES:
            raise InvalidImage(
                f"{name_of(source)}: {size} bytes, at most {MAX_FILE_BYTES} are opened"
            )
        picture = Image.open(given)
    except FileNotFoundError:
        raise InvalidImage(f"{name_of(source)}: no such file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"{name_of(source)}: not a readable picture ({error})") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise InvalidImage(
            f"{name_of(source)}: {width}x{height}, at most {MAX_PIXELS / 1e6:g} megapixels are read"
        )
    return picture


def video_frames(path: Path, count: int) -> tuple[RgbImage, ...]:
    """`count` frames at round(linspace(0, frames - 1, count)), as llava/data in NVlabs/VILA takes
    them; a shorter video repeats some. All are decoded to count them, as containers' own counts
    are often missing or wrong; only those kept are converted. Raises InvalidImage."""
    import av

    if not path.is_file():
        raise InvalidImage(f"{path}: no such file")
    try:
        with _open_video(path) as container:
            total = sum(1 for _ in container.decode(video=0))
        if total == 0:
            raise InvalidImage(f"{path}: a video without frames")
        wanted = np.linspace(0, total - 1, count).round().astype(int).tolist()
        kept: dict[int, RgbImage] = {}
        with _open_video(path) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    kept[index] = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        return tuple(kept[index] for index in wanted)
    except (av.FFmpegError, IndexError, KeyError, ValueError) as error:
        raise InvalidImage(f"{path}: not a readable video ({error})") from None


_kept_frames = lru_cache(maxsize=KEPT_CLIPS)(video_frames)


def _open_video(path: Path) -> InputContainer:
    import av

    # A plain path, for FFmpeg takes what stands before a colon for a protocol; and none of those,
    # which would reach the network.
    return av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
