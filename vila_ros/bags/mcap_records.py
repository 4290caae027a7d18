# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The records of an MCAP file as plain values (https://mcap.dev/spec), read from bytes.

Parsers raise struct.error, IndexError or UnicodeDecodeError on malformed content; MALFORMED names
them for `except`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEADER = struct.Struct("<BQ")  # opcode, length of the content
MESSAGE_HEADER = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
FOOTER_BYTES = RECORD_HEADER.size + 20 + len(MAGIC)
MALFORMED = (struct.error, IndexError, UnicodeDecodeError)


class Opcode(IntEnum):
    """Kinds of records."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


@dataclass(frozen=True, slots=True)
class Schema:
    """A message type; definition is its text."""

    id: int
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic as one publisher wrote it; metadata holds offered_qos_profiles in ROS recordings."""

    id: int
    schema_id: int
    topic: str
    encoding: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Where a chunk is, when its messages were logged, and which channels it has."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    channels: frozenset[int]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Totals of the file; counts: messages a channel."""

    messages: int
    chunks: int
    start_ns: int
    end_ns: int
    counts: dict[int, int]


@dataclass(frozen=True, slots=True)
class ChunkHeader:
    """The fields before a chunk's records; data_offset counts from the start of the content."""

    start_ns: int
    end_ns: int
    size: int
    crc: int
    compression: str
    data_offset: int


class _Fields:
    """Reads a record's fields one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def number(self, layout: str) -> int:
        """One little-endian integer, named as in struct."""
        (value,) = struct.unpack_from("<" + layout, self.content, self.position)
        self.position += struct.calcsize("<" + layout)
        return int(value)

    def data(self) -> bytes:
        """Bytes with their length in front."""
        end = self.number("I") + self.position
        if end > len(self.content):
            raise IndexError("a field reaches beyond its record")
        value = self.content[self.position : end]
        self.position = end
        return value

    def text(self) -> str:
        """UTF-8 with its length in front."""
        return self.data().decode()

    def numbers(self, layout: str) -> Iterator[tuple[int, ...]]:
        """An array of fixed-size entries with its length in bytes in front."""
        data = self.data()
        entry = struct.Struct("<" + layout)
        return entry.iter_unpack(data[: len(data) // entry.size * entry.size])


def parse_schema(content: bytes) -> Schema:
    """A schema record."""
    fields = _Fields(content)
    number, name = fields.number("H"), fields.text()
    fields.text()  # encoding: ros2msg or ros2idl, which shows in the text as well
    return Schema(number, name, fields.data().decode(errors="replace"))


def parse_channel(content: bytes) -> Channel:
    """A channel record."""
    fields = _Fields(content)
    number, schema, topic, encoding = (
        fields.number("H"),
        fields.number("H"),
        fields.text(),
        fields.text(),
    )
    pairs = _Fields(fields.data())
    metadata: dict[str, str] = {}
    while pairs.position < len(pairs.content):
        key = pairs.text()
        metadata[key] = pairs.text()
    return Channel(number, schema, topic, encoding, metadata)


def parse_chunk_index(content: bytes) -> ChunkIndex:
    """A chunk index record."""
    fields = _Fields(content)
    start, end, offset, length = (fields.number("Q") for _ in range(4))
    channels = frozenset(channel for channel, _ in fields.numbers("HQ"))
    return ChunkIndex(start, end, offset, length, channels)


def parse_statistics(content: bytes) -> Statistics:
    """A statistics record."""
    fields = _Fields(content)
    messages = fields.number("Q")
    fields.position += 2 + 4 + 4 + 4  # schemas, channels, attachments, metadata
    chunks, start, end = fields.number("I"), fields.number("Q"), fields.number("Q")
    return Statistics(messages, chunks, start, end, dict(fields.numbers("HQ")))  # type: ignore[arg-type]


def parse_message_index(content: bytes) -> tuple[int, list[int]]:
    """A message index record: the channel, and the log times of its messages in the chunk."""
    fields = _Fields(content)
    channel = fields.number("H")
    return channel, [stamp for stamp, _ in fields.numbers("QQ")]


def parse_chunk_header(content: bytes) -> ChunkHeader:
    """The head of a chunk record; content may end anywhere after it."""
    fields = _Fields(content)
    start, end, size, crc = (fields.number(layout) for layout in "QQQI")
    compression = fields.text()
    fields.number("Q")  # length of the records, which follows from the record's
    return ChunkHeader(start, end, size, crc, compression, fields.position)


def records(content: bytes, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Opcode, start and end of the content of each whole record; stops where one is cut."""
    position, last = start, len(content)
    while position + RECORD_HEADER.size <= last:
        opcode, length = RECORD_HEADER.unpack_from(content, position)
        position += RECORD_HEADER.size
        if length > last - position:
            return
        yield opcode, position, position + length
        position += length
