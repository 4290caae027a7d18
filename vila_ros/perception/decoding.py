# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decodes what questions look at, in threads of its own, and keeps the last results.

A window that slides shows mostly frames that the question before has shown; these are not decoded
again. Thumbnails are kept apart, for choosing keyframes looks at many more frames than it takes.
An engine that takes files gets a camera's own where that will do, undecoded; others are encoded
here, in these threads, rather than by the engine: a file crosses to the engine's process much
faster than pixels.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.image_encoding import encode_image
from vila_ros.engine.interface import (
    AnyImagePart,
    EncodedImagePart,
    EncodedImages,
    ImagePart,
    RgbImage,
)
from vila_ros.perception.image_files import MAX_PIXELS, decode_file
from vila_ros.perception.images import (
    decode_frame,
    forwarded_file,
    forwarded_frame,
    made_file,
    thumbnail,
)
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


class _Image(NamedTuple):
    """An image to be made ready. forward: the file as it came, if it may be given so."""

    key: str
    forward: Callable[[EncodedImages], EncodedImagePart | None]
    decode: Callable[[], RgbImage]


class Decoder:
    """Frames and files to what engines take, pixels or files.

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
        """What the images kept for later take, decoded or encoded."""
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
        self, frames: Sequence[Frame], wanted: EncodedImages | None = None
    ) -> list[AnyImagePart]:
        """The frames, made ready side by side. Raises RefusedImage for one that is damaged.

        wanted: how the engine takes files; None for pixels. A frame that is such a file already is
        not decoded, any other one is made one.
        """
        # Pixels of which a file is made at once need not outlive their message.
        own = wanted is None
        return self._parts([self._of_frame(frame, own) for frame in frames], wanted)

    def files(
        self, files: Sequence[bytes], wanted: EncodedImages | None = None
    ) -> list[AnyImagePart]:
        """JPEG and PNG files, made ready as frames are. Raises RefusedImage."""
        return self._parts([self._of_file(data) for data in files], wanted)

    def thumbnail(self, frame: Frame) -> NDArray[np.uint8]:
        """The frame's thumbnail, in the caller's thread. Raises RefusedImage."""
        return self._thumbnails.get(
            frame.key, lambda: self._reported(frame, lambda: thumbnail(frame, self.max_pixels))
        )

    def close(self) -> None:
        """End the threads; what has not begun is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _of_frame(self, frame: Frame, own: bool) -> _Image:
        return _Image(
            frame.key,
            lambda wanted: self._reported(
                frame, lambda: forwarded_frame(frame, wanted, self.max_pixels)
            ),
            lambda: self._reported(frame, lambda: decode_frame(frame, self.max_pixels, own=own)),
        )

    def _of_file(self, data: bytes) -> _Image:
        key = f"file@{hashlib.blake2b(data, digest_size=16).hexdigest()}"
        return _Image(
            key,
            lambda wanted: forwarded_file(data, wanted, key, self.max_pixels),
            lambda: decode_file(data, self.max_pixels),
        )

    def _reported(self, frame: Frame, call: Callable[[], Result]) -> Result:
        """What the call returns; a frame that it refuses is told of."""
        try:
            return call()
        except RefusedImage as error:
            if self._refused is not None:
                self._refused(frame, error.reason)
            raise

    def _parts(self, images: Sequence[_Image], wanted: EncodedImages | None) -> list[AnyImagePart]:
        # Forwarded in this thread: that takes less than to hand it over.
        parts = [None if wanted is None else image.forward(wanted) for image in images]
        others = [image for image, part in zip(images, parts, strict=True) if part is None]
        made = iter(self._side_by_side(others, wanted))
        return [next(made) if part is None else part for part in parts]

    def _side_by_side(
        self, images: Sequence[_Image], wanted: EncodedImages | None
    ) -> list[AnyImagePart]:
        # The last one here, for this thread would only wait.
        others = [self._threads.submit(self._made, image, wanted) for image in images[:-1]]
        last = [self._made(image, wanted) for image in images[-1:]]
        return [future.result() for future in others] + last

    def _made(self, image: _Image, wanted: EncodedImages | None) -> AnyImagePart:
        """The image's pixels, or the file that is made of them."""
        if wanted is None:
            return ImagePart(self._images.get(image.key, image.decode), image.key)
        name = f"{image.key} as {wanted}"
        data = self._images.get(name, lambda: encode_image(image.decode(), wanted))
        return made_file(data, image.key, self.max_pixels)
