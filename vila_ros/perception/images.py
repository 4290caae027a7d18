# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a camera's message to pixels: the one place where messages become images.

inspect_message looks at every message that arrives, in microseconds; decode_frame decodes the few
that a question samples; thumbnail makes a tiny picture to see how much the camera's view changed.
Engines that take files get that of a compressed image as it came (forwarded_frame); nothing is
decoded then.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import EncodedImagePart, EncodedImages, RgbImage
from vila_ros.perception import image_files, raw_images
from vila_ros.perception.cdr import (
    CompressedImageView,
    ImageView,
    read_compressed_image,
    read_image,
)
from vila_ros.perception.image_files import MAX_PIXELS, ImageFile, decode_file, inspect_file
from vila_ros.perception.plain_files import MEDIA_TYPES, plain_file
from vila_ros.perception.types import DropReason, Frame, MessageKind, RefusedImage

__all__ = [
    "MAX_PIXELS",
    "decode_file",
    "decode_frame",
    "forwarded_file",
    "forwarded_frame",
    "inspect_compressed",
    "inspect_message",
    "made_file",
    "thumbnail",
]

THUMBNAIL_SIZE = (24, 32)
"""Height and width of a thumbnail."""

# Formats of depth: "16UC1; compressedDepth png" of compressed_depth_image_transport, and
# "16UC1; png compressed " of compressed_image_transport.
_DEPTH_TRANSPORT = "compressedDepth"
_DEPTH_ENCODINGS = ("16UC1", "32FC1")


def inspect_message(
    kind: MessageKind, data: bytes, max_pixels: int = MAX_PIXELS
) -> ImageView | CompressedImageView:
    """Read a serialized message and refuse what could not be decoded, without decoding it.

    Raises RefusedImage with the reason: every one of DropReason that concerns one message alone,
    but for damage in the middle of a compressed file, which only decoding shows.
    """
    if kind is MessageKind.IMAGE:
        image = read_image(data)
        raw_images.check_layout(image, max_pixels)
        return image
    compressed = read_compressed_image(data)
    inspect_compressed(compressed, max_pixels)
    return compressed


def inspect_compressed(image: CompressedImageView, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """What the header of a compressed image's file says. Raises RefusedImage as inspect_message."""
    if _DEPTH_TRANSPORT in image.format or image.format.startswith(_DEPTH_ENCODINGS):
        raise RefusedImage(
            DropReason.UNKNOWN_ENCODING,
            f"format {image.format!r} holds depth, not a picture; take the colour topic.",
        )
    return inspect_file(image.data, max_pixels)


def decode_frame(frame: Frame, max_pixels: int = MAX_PIXELS, *, own: bool = True) -> RgbImage:
    """The pixels of a frame; own as in raw_images.to_rgb.

    Raises RefusedImage (an InvalidImage) that names the camera, the value, the limit and the fix.
    """
    try:
        view = inspect_message(frame.kind, frame.data, max_pixels)
        if isinstance(view, ImageView):
            return raw_images.to_rgb(view, max_pixels, own=own)
        return decode_file(view.data, max_pixels)
    except RefusedImage as error:
        raise _of(frame, error) from None


def forwarded_frame(
    frame: Frame, wanted: EncodedImages, max_pixels: int = MAX_PIXELS
) -> EncodedImagePart | None:
    """A frame's file where an engine wants it as it came; None for a frame to be decoded.

    Raises RefusedImage as decode_frame, but for damage inside a file.
    """
    if frame.kind is not MessageKind.COMPRESSED_IMAGE:
        return None
    try:
        image = read_compressed_image(frame.data)
        return _forwarded(image.data, inspect_compressed(image, max_pixels), wanted, frame.key)
    except RefusedImage as error:
        raise _of(frame, error) from None


def forwarded_file(
    data: bytes, wanted: EncodedImages, key: str, max_pixels: int = MAX_PIXELS
) -> EncodedImagePart | None:
    """A JPEG or PNG file where an engine wants it as it came; None for one to be decoded.

    Raises RefusedImage as inspect_file.
    """
    return _forwarded(data, inspect_file(data, max_pixels), wanted, key)


def made_file(data: NDArray[np.uint8], key: str, max_pixels: int = MAX_PIXELS) -> EncodedImagePart:
    """A file that was made of an image's pixels. data: uint8 [n]."""
    file = inspect_file(data.data, max_pixels)
    return EncodedImagePart(data.data, MEDIA_TYPES[file.format], file.width, file.height, key)


def thumbnail(frame: Frame, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """A grey picture of a frame, uint8 THUMBNAIL_SIZE, at a fraction of what decoding costs.

    A raw image is read at a grid of points, four to a pixel; a JPEG is decoded at an eighth of its
    size; only a PNG has to be decoded whole. Raises RefusedImage as decode_frame.
    """
    try:
        view = inspect_message(frame.kind, frame.data, max_pixels)
        if isinstance(view, ImageView):
            grey = _points(view, max_pixels)
        else:
            grey = image_files.decode_file_small(view.data, max_pixels)
    except RefusedImage as error:
        raise _of(frame, error) from None
    height, width = THUMBNAIL_SIZE
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _forwarded(
    data: bytes | memoryview, file: ImageFile, wanted: EncodedImages, key: str
) -> EncodedImagePart | None:
    part = EncodedImagePart(data, MEDIA_TYPES[file.format], file.width, file.height, key)
    if not wanted.forward(part):
        return None
    plain = plain_file(data, file)
    return None if plain is None else replace(part, data=plain)


def _points(view: ImageView, max_pixels: int) -> NDArray[np.uint8]:
    """The brightness at an even grid of points, uint8, twice THUMBNAIL_SIZE."""
    encoding = raw_images.check_layout(view, max_pixels)
    pixels = raw_images.read_pixels(view, encoding)
    height, width = (2 * side for side in THUMBNAIL_SIZE)
    # Even rows and columns: in a Bayer pattern these are all of the same colour.
    rows = (2 * np.arange(height) + 1) * view.height // (2 * height) & ~1
    columns = (2 * np.arange(width) + 1) * view.width // (2 * width) & ~1
    points = pixels[rows[:, None], columns[None, :], encoding.brightness]
    return raw_images.to_8_bit(points) if encoding.bytes_per_channel == 2 else points


def _of(frame: Frame, error: RefusedImage) -> RefusedImage:
    seconds = frame.stamp_ns / 1e9
    return RefusedImage(
        error.reason, f"Camera {frame.camera!r}, frame of {seconds:.3f} s: {error.message}"
    )
