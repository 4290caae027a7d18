# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files: what their headers say, and their pixels.

Cameras send them inside CompressedImage, users attach them to questions. Before anything is decoded
the file's own header is read: a few bytes that claim a billion pixels are refused there, and so is
a file whose end is missing, of which some decoders make a picture that is half grey.

Every file is decoded in one way, whatever the message calls it: the content decides, not the format
string; alpha is dropped; 16 bits are scaled to 8; the EXIF orientation is left alone, for a
camera's pixels must stay where its calibration and the vision model's own preprocessing expect
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from struct import Struct

import cv2
import numpy as np

from vila_ros.engine.interface import RgbImage
from vila_ros.perception.types import DropReason, RefusedImage

MAX_PIXELS = 64_000_000
"""The largest image that is decoded unless a caller sets another limit."""

# JPEG markers, ITU-T T.81, table B.1.
_JPEG_START = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_END_OF_IMAGE = 0xD9
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # not DHT, JPG, DAC
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))  # TEM, RST0 to RST7
_SEGMENT_LENGTH = Struct(">H")
_FRAME_SIZE = Struct(">BHH")  # precision, height, width
_MAX_MARKERS = 4096  # before the first scan, fill bytes included; a camera writes about ten

# PNG, W3C Recommendation, 5.2 and 11.2.
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_HEADER = Struct(">I4sIIB")  # length, type, width, height, bit depth
_PNG_HEADER_TYPE = b"IHDR"
_PNG_LAST_TYPE = b"IEND"
_PNG_CHUNK = Struct(">I4s")  # length, type; then the data and a checksum
_PNG_CHECKSUM_BYTES = 4

_TAIL_BYTES = 4096  # a file ends within these, unless its camera pads it


class FileFormat(Enum):
    """The formats that are decoded; the value is for people."""

    JPEG = "JPEG"
    PNG = "PNG"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """What the header of an image file says; depth is bits per channel."""

    format: FileFormat
    width: int
    height: int
    depth: int


def inspect_file(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> ImageFile:
    """Read the header of a JPEG or PNG file and look for its end; nothing is decoded.

    Raises RefusedImage: EMPTY, UNKNOWN_ENCODING (neither JPEG nor PNG), TRUNCATED, WRONG_SIZE (no
    pixels) or TOO_MANY_PIXELS.
    """
    if not data:
        raise RefusedImage(DropReason.EMPTY, "The image file is empty.")
    start = bytes(data[: len(_PNG_START)])
    if start.startswith(_JPEG_START):
        file = _inspect_jpeg(data)
    elif start == _PNG_START:
        file = _inspect_png(data)
    else:
        raise RefusedImage(
            DropReason.UNKNOWN_ENCODING,
            f"The image file starts with {start.hex(' ')}, neither as a JPEG nor as a PNG; "
            "send one of these.",
        )
    check_pixels(file.width, file.height, max_pixels)
    return file


def decode_file(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """The pixels of a JPEG or PNG file.

    Raises RefusedImage as inspect_file, and with UNDECODABLE for a file with damage inside.
    """
    file = inspect_file(data, max_pixels)
    if file.depth == 16:
        deep = _decoded(data, file, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
        return cv2.cvtColor(to_8_bit(deep), cv2.COLOR_BGR2RGB)
    return cv2.cvtColor(_decoded(data, file, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def decode_file_small(data: bytes | memoryview, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """A grey, smaller picture of a file, uint8 [h, w], to compare it with others.

    A JPEG is decoded at an eighth of its size, straight from its frequencies, at about a third of
    the cost. A PNG has no such short cut. Raises RefusedImage as decode_file.
    """
    file = inspect_file(data, max_pixels)
    small = file.format is FileFormat.JPEG
    return _decoded(data, file, cv2.IMREAD_REDUCED_GRAYSCALE_8 if small else cv2.IMREAD_GRAYSCALE)


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raise RefusedImage for an image without pixels or with too many."""
    if width < 1 or height < 1:
        raise RefusedImage(
            DropReason.WRONG_SIZE, f"The image is {width}x{height}; it has no pixels."
        )
    if width * height > max_pixels:
        raise RefusedImage(
            DropReason.TOO_MANY_PIXELS,
            f"The image is {width}x{height}, {width * height / 1e6:.6g} megapixels; at most "
            f"{max_pixels / 1e6:.6g}. Send a smaller one.",
        )


def to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """uint16 scaled to uint8, [0, 65535] to [0, 255], rounded to the nearest."""
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decoded(data: bytes | memoryview, file: ImageFile, mode: int) -> np.ndarray:
    if file.format is FileFormat.PNG:
        _check_chunks(data, file)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _undecodable(file, str(error)) from None
    if image is None:
        raise _undecodable(file, "its content is damaged")
    return image


def _undecodable(file: ImageFile, why: str) -> RefusedImage:
    return RefusedImage(
        DropReason.UNDECODABLE,
        f"The {file.format.value} of {file.width}x{file.height} cannot be decoded: {why}.",
    )


def _inspect_jpeg(data: bytes | memoryview) -> ImageFile:
    """Walk the segments up to the first scan; the frame's size stands in one of them."""
    found: ImageFile | None = None
    offset, end = len(_JPEG_START), len(data)
    for _ in range(_MAX_MARKERS):
        if offset + 4 > end:
            break
        if data[offset] != 0xFF:
            raise RefusedImage(
                DropReason.UNDECODABLE,
                f"The JPEG has no marker at byte {offset}, where one must be.",
            )
        marker = data[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        offset += 2
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == _END_OF_IMAGE:
            break
        (length,) = _SEGMENT_LENGTH.unpack_from(data, offset)
        if marker in _START_OF_FRAME and offset + 7 <= end:
            depth, height, width = _FRAME_SIZE.unpack_from(data, offset + 2)
            found = ImageFile(FileFormat.JPEG, width, height, depth)
        offset += length
        if marker == _START_OF_SCAN and found is not None:
            # Inside a scan 0xff is followed by 0x00, so the end marker is the end.
            if not _ends(data, offset, _JPEG_END):
                break
            return found
    raise RefusedImage(
        DropReason.TRUNCATED,
        f"The JPEG ends after {end} bytes without its end marker; it arrived incomplete.",
    )


def _inspect_png(data: bytes | memoryview) -> ImageFile:
    if len(data) < len(_PNG_START) + _PNG_HEADER.size:
        raise _truncated_png(data)
    _, kind, width, height, depth = _PNG_HEADER.unpack_from(data, len(_PNG_START))
    if kind != _PNG_HEADER_TYPE:
        raise RefusedImage(
            DropReason.UNDECODABLE, f"The PNG starts with chunk {kind!r}; IHDR must be first."
        )
    if not _ends(data, len(_PNG_START), _PNG_END):
        raise _truncated_png(data)
    return ImageFile(FileFormat.PNG, width, height, depth)


def _check_chunks(data: bytes | memoryview, file: ImageFile) -> None:
    """Refuse a PNG with a chunk that is longer than the file: OpenCV would allocate its length."""
    offset, end = len(_PNG_START), len(data)
    while offset + _PNG_CHUNK.size <= end:
        length, kind = _PNG_CHUNK.unpack_from(data, offset)
        offset += _PNG_CHUNK.size + length + _PNG_CHECKSUM_BYTES
        if offset > end:
            raise _undecodable(file, f"a chunk claims {length} bytes of the file's {end}")
        if kind == _PNG_LAST_TYPE:
            return
    raise _undecodable(file, "its last chunk, IEND, is missing")


def _truncated_png(data: bytes | memoryview) -> RefusedImage:
    return RefusedImage(
        DropReason.TRUNCATED,
        f"The PNG ends after {len(data)} bytes without its IEND chunk; it arrived incomplete.",
    )


def _ends(data: bytes | memoryview, start: int, mark: bytes) -> bool:
    """Whether the mark stands behind start; near the end first, where it nearly always is."""
    if mark in bytes(data[max(start, len(data) - _TAIL_BYTES) :]):
        return True
    return mark in bytes(data[start:])
