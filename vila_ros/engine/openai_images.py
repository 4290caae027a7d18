# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Images as data URLs: each one encoded once, however many questions it is part of.

Pixels become a file first; an image that came as a file travels as it is.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from vila_ros.engine.image_encoding import encode_image
from vila_ros.engine.interface import (
    EncodedImagePart,
    EncodedImages,
    ImagePart,
    RgbImage,
    VideoPart,
)
from vila_ros.errors import InvalidImage, InvalidRequest

Media = ImagePart | EncodedImagePart | VideoPart

FORMATS = ("jpeg", "png")
_MAX_THREADS = 4


@dataclass(frozen=True)
class ImageEncoding:
    """How images travel.

    format: "jpeg" or "png" (lossless). quality: JPEG quality, 1 to 100.
    max_side: the longer side in pixels that an image is shrunk to, keeping its shape; 0 for no
        bound.
    cache_bytes: what the encoded images kept for further questions may take.
    forward_bytes: the largest file that is sent on as it came; 0 encodes every image anew.
    """

    format: str = "jpeg"
    quality: int = 90
    max_side: int = 0
    cache_bytes: int = 64 * 1024**2
    forward_bytes: int = 4 * 1024**2

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise InvalidRequest(f"image_format is {self.format!r}; it must be one of {FORMATS}.")
        if not 1 <= self.quality <= 100:
            raise InvalidRequest(f"jpeg_quality is {self.quality}; it must be 1 to 100.")
        for name, value in (
            ("max_image_side", self.max_side),
            ("image_cache_bytes", self.cache_bytes),
            ("forward_bytes", self.forward_bytes),
        ):
            if value < 0:
                raise InvalidRequest(f"{name} is {value}; it must not be negative.")

    @property
    def files(self) -> EncodedImages:
        """The same for those who make the files."""
        return EncodedImages(
            f"image/{self.format}", self.quality, self.max_side, self.forward_bytes
        )


@dataclass(frozen=True, eq=False)
class EncodedMedia:
    """The encoded frames of an image (one) or of a clip. base64: of each frame's file."""

    base64: tuple[bytes, ...]
    media_type: str

    @property
    def urls(self) -> tuple[bytes, ...]:
        """A data URL for each frame."""
        prefix = b"data:" + self.media_type.encode() + b";base64,"
        return tuple(prefix + data for data in self.base64)


class ImageEncoder:
    """Encodes the images of requests. All methods may be called from any thread."""

    def __init__(self, encoding: ImageEncoding) -> None:
        self._cache_bytes = encoding.cache_bytes
        self._files = encoding.files
        self._lock = threading.Lock()
        self._cache: OrderedDict[str, Future[bytes]] = OrderedDict()
        self._cached_bytes = 0
        self._threads = ThreadPoolExecutor(
            min(_MAX_THREADS, os.cpu_count() or 1), thread_name_prefix="image_encoder"
        )

    def encode(self, parts: list[Media]) -> tuple[list[EncodedMedia], int]:
        """All parts encoded, in order, and how many frames were not in the cache.

        Raises InvalidImage for pixels that are not uint8 RGB, and for a file that is not taken.
        """
        started = [self._start_part(part) for part in parts]
        media = [
            EncodedMedia(
                tuple(future.result() for future, _ in frames),
                part.media_type if isinstance(part, EncodedImagePart) else self._files.media_type,
            )
            for part, frames in zip(parts, started, strict=True)
        ]
        return media, sum(new for frames in started for _, new in frames)

    def close(self) -> None:
        """End the threads; what they work on is finished."""
        self._threads.shutdown(wait=False)

    def _start_part(self, part: Media) -> list[tuple[Future[bytes], bool]]:
        """The encoding of each frame of a part; see _start."""
        if isinstance(part, EncodedImagePart):
            self._check_file(part)
            return [self._start(_file_key(part), lambda: _done(base64.b64encode(part.data)))]
        frames = (part.pixels,) if isinstance(part, ImagePart) else part.frames
        for frame in frames:
            check_pixels(frame)
        return [
            self._start(_key(part, index, frame), partial(self._submit, frame))
            for index, frame in enumerate(frames)
        ]

    def _submit(self, frame: RgbImage) -> Future[bytes]:
        return self._threads.submit(lambda: base64.b64encode(encode_image(frame, self._files).data))

    def _check_file(self, part: EncodedImagePart) -> None:
        if not self._files.take(part):
            raise InvalidImage(
                f"A file is {part.media_type}, {part.width}x{part.height} pixels, "
                f"{len(part.data)} bytes; taken are image/jpeg and {self._files.media_type} that "
                f"keep to max_image_side {self._files.max_side}. Give its pixels instead."
            )

    def _start(self, key: str, begin: Callable[[], Future[bytes]]) -> tuple[Future[bytes], bool]:
        """The encoding of that name, and whether it was begun here: two questions share one."""
        with self._lock:
            future = self._cache.get(key)
            if future is not None:
                self._cache.move_to_end(key)
                return future, False
            future = begin()
            self._cache[key] = future
        future.add_done_callback(lambda done: self._account(key, done))
        return future, True

    def _account(self, key: str, done: Future[bytes]) -> None:
        """Count a finished encoding, and drop the least recently used beyond the bound."""
        with self._lock:
            if done.cancelled() or done.exception() is not None:
                self._cache.pop(key, None)
                return
            self._cached_bytes += len(done.result())
            for old in list(self._cache):
                if self._cached_bytes <= self._cache_bytes:
                    break
                future = self._cache[old]
                if future.done():
                    del self._cache[old]
                    self._cached_bytes -= len(future.result())


def check_pixels(pixels: RgbImage) -> None:
    """Raise InvalidImage unless pixels are uint8, [H, W, 3], at least one pixel."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InvalidImage(
            f"An image is {pixels.dtype} {list(pixels.shape)}; it must be uint8 [height, width, 3]."
        )


def _done(data: bytes) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(data)
    return future


def _file_key(part: EncodedImagePart) -> str:
    name = part.key or hashlib.blake2b(part.data, digest_size=16).hexdigest()
    return f"{part.media_type}:{name}"


def _key(part: ImagePart | VideoPart, index: int, frame: RgbImage) -> str:
    if part.key is None:
        digest = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).hexdigest()
        return f"pixels:{frame.shape[0]}x{frame.shape[1]}:{digest}"
    return f"image:{part.key}" if isinstance(part, ImagePart) else f"video:{index}:{part.key}"
