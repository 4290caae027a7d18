# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes what questions look at, in threads of its own, and keeps the last results.

A window that slides shows mostly frames that the question before has shown; these are not decoded
again. Thumbnails are kept apart, for choosing keyframes looks at many more frames than it takes.
What an engine takes as a file is not decoded at all.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import AnyImagePart, EncodedImagePart, EncodedImages, ImagePart
from vila_ros.perception.image_files import MAX_PIXELS, decode_file
from vila_ros.perception.images import decode_frame, encoded_file, encoded_frame, thumbnail
from vila_ros.perception.types import DropReason, Frame, RefusedImage

THUMBNAIL_BYTES = 4 * 1024 * 1024
_THREADS = 4

Array = TypeVar("Array", bound=NDArray[np.uint8])
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class ArrayCache(Generic[Array]):
    """The arrays used last, by name, within a number of bytes. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._arrays: OrderedDict[str, Array] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What is held now."""
        return self._bytes

    def get(self, name: str, make: Callable[[], Array]) -> Array:
        """The array of a name, made now where it is not held; what make raises is raised."""
        with self._lock:
            if name in self._arrays:
                self._arrays.move_to_end(name)
                return self._arrays[name]
        array = make()
        with self._lock:
            if name in self._arrays:  # another thread was faster
                return self._arrays[name]
            if array.nbytes <= self._limit:
                self._arrays[name] = array
                self._bytes += array.nbytes
                self._shrink()
            return array

    def set_limit(self, limit: int) -> None:
        """Hold at most `limit` bytes from now on."""
        with self._lock:
            self._limit = limit
            self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._limit:
            _, oldest = self._arrays.popitem(last=False)
            self._bytes -= oldest.nbytes


class Decoder:
    """Frames and files to what engines take: pixels, or the files themselves where that will do.

    Thread-safe; what it returns is shared, and not to be written.
    """

    def __init__(
        self,
        decoded_bytes: int,
        max_pixels: int = MAX_PIXELS,
        refused: Callable[[Frame, DropReason], None] | None = None,
    ) -> None:
        """Nothing is decoded yet. refused: told of every frame that cannot be."""
        self.max_pixels = max_pixels
        self._refused = refused
        self._images: ArrayCache[NDArray[np.uint8]] = ArrayCache(decoded_bytes)
        self._thumbnails: ArrayCache[NDArray[np.uint8]] = ArrayCache(THUMBNAIL_BYTES)
        self._threads = ThreadPoolExecutor(
            min(_THREADS, os.cpu_count() or 1), thread_name_prefix="vila-decode"
        )

    @property
    def held_bytes(self) -> int:
        """What the decoded images kept for later take."""
        return self._images.bytes

    def set_limits(self, decoded_bytes: int, max_pixels: int) -> None:
        """Change what is kept and what is refused, from the next image on."""
        self.max_pixels = max_pixels
        self._images.set_limit(decoded_bytes)

    def submit(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **named: Arguments.kwargs
    ) -> Future[Result]:
        """Run something in a decoding thread."""
        return self._threads.submit(call, *args, **named)

    def frames(
        self, frames: Sequence[Frame], taken: EncodedImages | None = None
    ) -> list[AnyImagePart]:
        """The frames, decoded side by side. Raises RefusedImage for one that is damaged.

        taken: the files that the engine takes; a frame that is such a file is not decoded.
        """

        def encoded(frame: Frame, taken: EncodedImages) -> EncodedImagePart | None:
            with self._reported(frame):
                return encoded_frame(frame, taken, self.max_pixels)

        return self._parts(frames, taken, encoded, self._frame)

    def files(
        self, files: Sequence[bytes], taken: EncodedImages | None = None
    ) -> list[AnyImagePart]:
        """JPEG and PNG files, taken as in frames(). Raises RefusedImage."""

        def encoded(data: bytes, taken: EncodedImages) -> EncodedImagePart | None:
            return encoded_file(data, taken, _file_key(data), self.max_pixels)

        return self._parts(files, taken, encoded, self._file)

    def thumbnail(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame's thumbnail, in the caller's thread. Raises RefusedImage."""
        with self._reported(frame):
            return self._thumbnails.get(frame.key, lambda: thumbnail(frame, self.max_pixels))

    def close(self) -> None:
        """End the threads; what has not begun is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _frame(self, frame: Frame) -> ImagePart:
        with self._reported(frame):
            pixels = self._images.get(frame.key, lambda: decode_frame(frame, self.max_pixels))
        return ImagePart(pixels, frame.key)

    @contextmanager
    def _reported(self, frame: Frame) -> Iterator[None]:
        try:
            yield
        except RefusedImage as error:
            if self._refused is not None:
                self._refused(frame, error.reason)
            raise

    def _file(self, data: bytes) -> ImagePart:
        key = _file_key(data)
        return ImagePart(self._images.get(key, lambda: decode_file(data, self.max_pixels)), key)

    def _parts(
        self,
        items: Sequence[Result],
        taken: EncodedImages | None,
        encoded: Callable[[Result, EncodedImages], EncodedImagePart | None],
        decode: Callable[[Result], ImagePart],
    ) -> list[AnyImagePart]:
        """Each item as a file where that is taken, else decoded."""
        # In this thread: what there is to do takes less than to hand it over.
        files = [None if taken is None else encoded(item, taken) for item in items]
        to_decode = [item for item, file in zip(items, files, strict=True) if file is None]
        decoded = iter(self._side_by_side(decode, to_decode))
        return [next(decoded) if file is None else file for file in files]

    def _side_by_side(
        self, decode: Callable[[Result], ImagePart], items: Sequence[Result]
    ) -> list[ImagePart]:
        # The last one here, for this thread would only wait.
        others = [self._threads.submit(decode, item) for item in items[:-1]]
        last = [decode(item) for item in items[-1:]]
        return [future.result() for future in others] + last


def _file_key(data: bytes) -> str:
    return f"file@{hashlib.blake2b(data, digest_size=16).hexdigest()}"
