# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A JPEG or PNG file reduced to its picture, to be sent on without decoding it.

What a camera writes beside the picture (place and time in EXIF, comments, thumbnails, further
pictures behind the end) leaves the robot by nobody's wish, so only the segments are kept that the
picture needs, with its colour profile. That an EXIF orientation goes too is as it must be: the
picture stays where the camera's pixels are, as in image_files.decode_file.

Only a file that every decoder reads alike is reduced. Of any other one (four colours, 16 bits,
alpha, arithmetic coding, Huffman tables left to the reader as in some MJPEG, damage) nothing is
given, and who asked decodes it, which says what is wrong.
"""

from __future__ import annotations

import re
from struct import Struct
from zlib import crc32

from vila_ros.perception.image_files import FileFormat, ImageFile

MEDIA_TYPES = {FileFormat.JPEG: "image/jpeg", FileFormat.PNG: "image/png"}

# JPEG markers, ITU-T T.81, table B.1.
_START, _END, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive: coded by Huffman
_HUFFMAN_TABLES, _QUANTISATION_TABLES, _RESTART_INTERVAL = 0xC4, 0xDB, 0xDD
_TABLES = frozenset((_HUFFMAN_TABLES, _QUANTISATION_TABLES, _RESTART_INTERVAL))
_APPLICATION = frozenset(range(0xE0, 0xF0))
_COMMENT = 0xFE
# The application segments that say something of the picture's colours: marker, bytes of the whole
# body or None for any, and how it begins. JFIF's is longer with a thumbnail inside.
_KEPT_APPLICATION = (
    (0xE0, 14, b"JFIF\x00"),
    (0xE2, None, b"ICC_PROFILE\x00"),
    (0xEE, 12, b"Adobe"),
)
_COMPONENTS = (1, 3)
_MAX_SEGMENTS = 4096
# Inside a scan, 0xff is followed by 0x00 or is a restart marker; anything else ends the scan.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_LENGTH = Struct(">H")

# PNG, W3C Recommendation, 5.3, 11.2 and 11.3.
_SIGNATURE_BYTES = 8
_CHUNK = Struct(">I4s")  # length, type; then the data and a checksum
_CHECKSUM = Struct(">I")
_HEADER_BYTES = 13
_KEPT_CHUNKS = (b"IHDR", b"iCCP", b"IDAT", b"IEND")
_PLAIN_COLOUR_TYPES = (0, 2)  # grey, RGB
_PALETTE = b"PLTE"  # a suggestion only, in these colour types


def plain_file(data: bytes | memoryview, file: ImageFile) -> bytes | memoryview | None:
    """The file without what the picture does not need; None for one that is to be decoded.

    file: what inspect_file says of it. The data itself is given where there is nothing to leave
    out.
    """
    view = memoryview(data)
    ranges = _jpeg(view) if file.format is FileFormat.JPEG else _png(view)
    if ranges is None:
        return None
    joined = _joined(ranges)
    if joined == [(0, len(view))]:
        return data
    return b"".join(view[start:end] for start, end in joined)


def _jpeg(data: memoryview) -> list[tuple[int, int]] | None:
    """Which ranges of a JPEG hold its picture, its two ends included."""
    kept = [(0, 2)]
    seen: set[int] = set()
    offset = 2
    for _ in range(_MAX_SEGMENTS):
        if offset + 2 > len(data) or data[offset] != 0xFF:
            return None
        marker = data[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        if marker == _END:
            kept.append((offset, offset + 2))
            return kept if _START_OF_SCAN in seen else None
        if offset + 4 > len(data):
            return None
        (length,) = _LENGTH.unpack_from(data, offset + 2)
        end = offset + 2 + length
        body = data[offset + 4 : end]
        if length < 2 or end > len(data) or not _is_usual(marker, body, seen):
            return None
        if marker == _START_OF_SCAN:
            following = _AFTER_SCAN.search(data, end)
            if following is None:
                return None
            end = following.start()
        if _is_kept(marker, body):
            kept.append((offset, end))
        seen.add(marker)
        offset = end
    return None


def _is_usual(marker: int, body: memoryview, seen: set[int]) -> bool:
    """Whether every decoder reads a segment alike, after those seen before it."""
    if marker in _FRAMES:
        # A second frame would let two decoders see two sizes.
        return not seen & _FRAMES and len(body) > 5 and body[0] == 8 and body[5] in _COMPONENTS
    if marker == _START_OF_SCAN:
        return bool(seen & _FRAMES) and {_HUFFMAN_TABLES, _QUANTISATION_TABLES} <= seen
    return marker in _TABLES or marker in _APPLICATION or marker == _COMMENT


def _is_kept(marker: int, body: memoryview) -> bool:
    if marker == _COMMENT:
        return False
    if marker not in _APPLICATION:
        return True
    return any(
        marker == kept and size in (None, len(body)) and bytes(body[: len(start)]) == start
        for kept, size, start in _KEPT_APPLICATION
    )


def _png(data: memoryview) -> list[tuple[int, int]] | None:
    """Which ranges of a PNG hold its picture; every kept chunk's checksum is right."""
    kept = [(0, _SIGNATURE_BYTES)]
    offset = _SIGNATURE_BYTES
    while offset + _CHUNK.size + _CHECKSUM.size <= len(data):
        length, kind = _CHUNK.unpack_from(data, offset)
        checked = offset + _CHUNK.size + length
        end = checked + _CHECKSUM.size
        if end > len(data):
            return None
        if kind in _KEPT_CHUNKS:
            if crc32(data[offset + 4 : checked]) != _CHECKSUM.unpack_from(data, checked)[0]:
                return None
            if kind == b"IHDR" and not _is_plain(data[offset + _CHUNK.size : checked]):
                return None
            kept.append((offset, end))
        elif kind != _PALETTE and not kind[0] & 0x20:  # a critical chunk that is not known
            return None
        if kind == b"IEND":
            return kept
        offset = end
    return None


def _is_plain(header: memoryview) -> bool:
    """Whether a PNG's header says 8 bits of grey or RGB."""
    return len(header) == _HEADER_BYTES and header[8] == 8 and header[9] in _PLAIN_COLOUR_TYPES


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges with those made one that follow each other without a gap."""
    joined = ranges[:1]
    for start, end in ranges[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
