# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""zstd and lz4 as recordings use them, with bounded sizes and tolerant of a missing end."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import lz4.frame

from vila_ros.errors import InvalidRecording

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
MAX_MESSAGE_BYTES = 1 << 30
_BLOCK_BYTES = 1 << 20


class DamagedData(Exception):
    """Compressed data that does not decompress; never leaves the package."""


def decompress_chunk(data: bytes, compression: str, size: int) -> bytes:
    """At most `size` bytes out of `data`; fewer where its end is missing.

    compression: "", "zstd" or "lz4". Raises DamagedData.
    """
    try:
        if compression == "":
            return data[:size]
        if compression == "zstd":
            return zstd.ZstdDecompressor().decompress(data, max_length=size)
        if compression == "lz4":
            return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size)
    except (zstd.ZstdError, RuntimeError, EOFError, MemoryError) as error:
        raise DamagedData(str(error)) from error
    raise DamagedData(f"unknown compression '{compression}'")


def decompress_message(data: bytes) -> bytes:
    """A message as published: rosbag2's message compression is undone, other data returned as is.

    A CDR message starts with a zero byte (OMG CDR encapsulation), a zstd frame never does.
    Raises DamagedData.
    """
    if data[:4] != ZSTD_MAGIC:
        return data
    decompressor = zstd.ZstdDecompressor()
    try:
        plain = decompressor.decompress(data, max_length=MAX_MESSAGE_BYTES)
    except (zstd.ZstdError, MemoryError) as error:
        raise DamagedData(str(error)) from error
    if not decompressor.eof:
        raise DamagedData("its end is missing, or it is larger than 1 GiB")
    return plain


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Path, str]]:
    """A zstd file's content as a temporary file, removed on leaving, and what was wrong with it.

    What precedes the damage of a damaged file is there; the second value then says why it ends.
    Raises InvalidRecording if it cannot be read or the temporary folder cannot hold it.
    """
    damage = ""
    with tempfile.NamedTemporaryFile(prefix="vila_ros_", suffix=Path(path.stem).suffix) as plain:
        try:
            with path.open("rb") as packed:
                for block in _decompressed_blocks(packed):
                    plain.write(block)
        except DamagedData as error:
            damage = str(error)
        except OSError as error:
            raise InvalidRecording(
                f"'{path}' cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}. "
                "Set TMPDIR to a folder with more space."
            ) from error
        plain.flush()
        yield Path(plain.name), damage


def _decompressed_blocks(packed: BinaryIO) -> Iterator[bytes]:
    """The content of one or more zstd frames, up to the first damage; then raises DamagedData."""
    decompressor = zstd.ZstdDecompressor()
    fed = b""
    complete = True  # at the end of a frame, where the file may end
    while fed or (fed := packed.read(_BLOCK_BYTES)):
        try:
            block = decompressor.decompress(fed, max_length=_BLOCK_BYTES)
            while block:
                yield block
                if decompressor.needs_input or decompressor.eof:
                    break
                block = decompressor.decompress(b"", max_length=_BLOCK_BYTES)
        except zstd.ZstdError as error:
            raise DamagedData(f"its zstd stream is damaged ({error})") from error
        complete = decompressor.eof
        fed = b""
        if complete:
            fed = decompressor.unused_data
            decompressor = zstd.ZstdDecompressor()
    if not complete:
        raise DamagedData("its zstd stream ends early")
