# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads sensor_msgs/Image and CompressedImage straight out of serialized bytes.

A camera's messages stay serialized until a question needs them, so most are only looked at here:
a few fields are read in place, and the pixels are never copied. Bytes come from DDS or a recording
and are not trusted: every length is checked against what is there.

Layout: the OMG's Common Data Representation (DDS-XTypes 1.3, 7.4.1 and 7.6.2). Four bytes of
encapsulation header name the byte order; every number after it is aligned to its size, counted from
the end of that header; a string is its length with the closing NUL, then its bytes. Messages with
nothing of eight bytes look the same in plain CDR of version 1 (Fast DDS, Cyclone DDS, rosbag2) and
of version 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from vila_ros.perception.types import DropReason, RefusedImage

# Second byte of the encapsulation header; the first is zero.
_BIG_ENDIAN_IDS = frozenset((0x00, 0x06))  # CDR_BE, CDR2_BE
_LITTLE_ENDIAN_IDS = frozenset((0x01, 0x07))  # CDR_LE, CDR2_LE
_ENCAPSULATION = 4
_FRAME_ID = _ENCAPSULATION + 12  # behind stamp.sec, stamp.nanosec and the length of frame_id
_NANOSECONDS = 1_000_000_000

MAX_STRING_BYTES = 4096
"""The longest frame_id, encoding or format that is read; theirs are some tens of bytes."""


@dataclass(frozen=True, slots=True)
class ImageView:
    """A sensor_msgs/Image; data is a view into the message."""

    stamp_ns: int
    frame_id: str
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class CompressedImageView:
    """A sensor_msgs/CompressedImage; data is a view into the message."""

    stamp_ns: int
    frame_id: str
    format: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class _ByteOrder:
    """The readers of one byte order."""

    header: Struct  # stamp.sec, stamp.nanosec, length of frame_id
    one: Struct  # a uint32
    two: Struct  # a pair of uint32


_LITTLE, _BIG = (
    _ByteOrder(Struct(f"{sign}iII"), Struct(f"{sign}I"), Struct(f"{sign}II")) for sign in "<>"
)


def read_header(data: bytes) -> tuple[int, str]:
    """Stamp in nanoseconds (negative where the message says so) and frame_id of a message.

    Works for every message that starts with a std_msgs/Header. Raises RefusedImage (EMPTY,
    MALFORMED).
    """
    stamp_ns, frame_id, _, _ = _read_header(data)
    return stamp_ns, frame_id


def read_image(data: bytes) -> ImageView:
    """The fields of a serialized sensor_msgs/Image; whether they fit each other is not checked.

    Raises RefusedImage (EMPTY, MALFORMED).
    """
    stamp_ns, frame_id, order, offset = _read_header(data)
    offset = _aligned(offset)
    _need(data, offset, order.two.size, "height and width")
    height, width = order.two.unpack_from(data, offset)
    encoding, offset = _read_string(data, offset + order.two.size, order, "encoding")
    _need(data, offset, 1, "is_bigendian")
    is_bigendian = data[offset] != 0
    offset = _aligned(offset + 1)
    _need(data, offset, order.two.size, "step and length of data")
    step, length = order.two.unpack_from(data, offset)
    pixels = _payload(data, offset + order.two.size, length)
    return ImageView(stamp_ns, frame_id, height, width, encoding, is_bigendian, step, pixels)


def read_compressed_image(data: bytes) -> CompressedImageView:
    """The fields of a serialized sensor_msgs/CompressedImage.

    Raises RefusedImage (EMPTY, MALFORMED).
    """
    stamp_ns, frame_id, order, offset = _read_header(data)
    layout, offset = _read_string(data, offset, order, "format")
    offset = _aligned(offset)
    _need(data, offset, order.one.size, "length of data")
    (length,) = order.one.unpack_from(data, offset)
    payload = _payload(data, offset + order.one.size, length)
    return CompressedImageView(stamp_ns, frame_id, layout, payload)


def _read_header(data: bytes) -> tuple[int, str, _ByteOrder, int]:
    """Stamp, frame_id, the byte order, and where the fields after the header start."""
    if not data:
        raise RefusedImage(DropReason.EMPTY, "The message is empty.")
    _need(data, 0, _FRAME_ID, "header")
    if data[0] == 0 and data[1] in _LITTLE_ENDIAN_IDS:
        order = _LITTLE
    elif data[0] == 0 and data[1] in _BIG_ENDIAN_IDS:
        order = _BIG
    else:
        raise RefusedImage(
            DropReason.MALFORMED,
            f"The message starts with {data[:4].hex(' ')}, which is no plain CDR.",
        )
    seconds, nanoseconds, length = order.header.unpack_from(data, _ENCAPSULATION)
    if nanoseconds >= _NANOSECONDS:
        raise RefusedImage(
            DropReason.MALFORMED,
            f"The stamp has {nanoseconds} nanoseconds; at most {_NANOSECONDS - 1}.",
        )
    frame_id, end = _text(data, _FRAME_ID, length, "frame_id")
    return seconds * _NANOSECONDS + nanoseconds, frame_id, order, end


def _read_string(data: bytes, offset: int, order: _ByteOrder, name: str) -> tuple[str, int]:
    """The string whose length is next, and where it ends."""
    offset = _aligned(offset)
    _need(data, offset, order.one.size, f"length of {name}")
    (length,) = order.one.unpack_from(data, offset)
    return _text(data, offset + order.one.size, length, name)


def _text(data: bytes, offset: int, length: int, name: str) -> tuple[str, int]:
    """A string of `length` bytes, its NUL included, and where it ends.

    Some writers leave the NUL of an empty string out; that is taken as well.
    """
    if length > MAX_STRING_BYTES:
        raise RefusedImage(
            DropReason.MALFORMED,
            f"{name} is said to have {length} bytes; at most {MAX_STRING_BYTES}.",
        )
    _need(data, offset, length, name)
    end = offset + length
    try:
        return data[offset:end].rstrip(b"\0").decode(), end
    except UnicodeDecodeError:
        shown = data[offset : offset + 32].hex(" ")
        raise RefusedImage(DropReason.MALFORMED, f"{name} is no UTF-8: {shown}.") from None


def _payload(data: bytes, offset: int, length: int) -> memoryview:
    if length == 0:
        raise RefusedImage(DropReason.EMPTY, "The image has no data.")
    _need(data, offset, length, "data")
    return memoryview(data)[offset : offset + length]


def _aligned(offset: int) -> int:
    """The next offset at which a number of four bytes may stand."""
    return (offset + 3) & ~3  # the encapsulation header has four bytes, so it may be counted along


def _need(data: bytes, offset: int, count: int, name: str) -> None:
    if offset + count > len(data):
        raise RefusedImage(
            DropReason.MALFORMED,
            f"The message ends after {len(data)} bytes; its {name} needs {offset + count}.",
        )
