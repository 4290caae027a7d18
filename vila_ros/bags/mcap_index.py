# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the messages of an MCAP file are: from its summary, or by scanning what is left of it."""

from __future__ import annotations

from binascii import crc32
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from vila_ros.bags import mcap_records
from vila_ros.bags.compression import DamagedData, decompress_chunk
from vila_ros.bags.mcap_records import MALFORMED, MESSAGE_HEADER, RECORD_HEADER, Channel, Opcode

MAX_RECORD_BYTES = 1 << 31  # of the records that are read whole
MAX_CHUNK_BYTES = 1 << 30
_READ_WHOLE = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK, Opcode.MESSAGE_INDEX)
_CHUNK_HEADER_BYTES = 64  # more than a chunk's head takes
_LOOSE_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """Records that are read together: a chunk, or a run of records outside of chunks.

    offset, length: the chunk's content, or the records, in the file. channels: those with
    messages in the block; empty where the file does not say. cut: the file ends inside.
    """

    offset: int
    length: int
    start_ns: int
    end_ns: int
    channels: frozenset[int]
    loose: bool = False
    cut: bool = False


@dataclass(slots=True)
class McapIndex:
    """Everything needed to find messages. damage: why and how far a damaged file is read."""

    schemas: dict[int, mcap_records.Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    blocks: list[Block] = field(default_factory=list)
    start_ns: int = 0
    end_ns: int = 0
    damage: str = ""

    def learn(self, opcode: int, content: bytes) -> None:
        """Keep a schema or a channel; raises one of MALFORMED."""
        if opcode == Opcode.SCHEMA:
            schema = mcap_records.parse_schema(content)
            self.schemas[schema.id] = schema
        elif opcode == Opcode.CHANNEL:
            channel = mcap_records.parse_channel(content)
            self.channels[channel.id] = channel


def read_block(file: BinaryIO, block: Block) -> tuple[bytes, str]:
    """A block's records, uncompressed, and what is wrong with them (or the empty string).

    Records before the damage are given. Raises DamagedData where there are none to trust.
    """
    file.seek(block.offset)
    if block.loose:
        content = file.read(block.length)
        return content, "" if len(content) == block.length else "the file has become shorter"
    try:
        head = mcap_records.parse_chunk_header(file.read(min(_CHUNK_HEADER_BYTES, block.length)))
    except MALFORMED as error:
        raise DamagedData(f"no chunk stands here ({error})") from error
    if head.size > MAX_CHUNK_BYTES:
        raise DamagedData(f"a chunk of {head.size} bytes exceeds the limit of {MAX_CHUNK_BYTES}")
    file.seek(block.offset + head.data_offset)
    packed = file.read(block.length - head.data_offset)
    plain = decompress_chunk(packed, head.compression, head.size)
    if len(plain) < head.size:
        return plain, "" if block.cut else "the chunk is shorter than it says"
    if head.crc and crc32(plain) != head.crc:
        raise DamagedData("the chunk's checksum differs")
    return plain, ""


def index_from_summary(file: BinaryIO, size: int) -> McapIndex | None:
    """The index that the writer left at the end, or None where it is missing or not complete."""
    footer_offset = size - mcap_records.FOOTER_BYTES
    if footer_offset < len(mcap_records.MAGIC):
        return None
    file.seek(footer_offset)
    footer = file.read(mcap_records.FOOTER_BYTES)
    if footer[:9] != RECORD_HEADER.pack(Opcode.FOOTER, 20) or not footer.endswith(
        mcap_records.MAGIC
    ):
        return None
    summary_offset = int.from_bytes(footer[9:17], "little")
    if not len(mcap_records.MAGIC) <= summary_offset < footer_offset:
        return None
    file.seek(summary_offset)
    summary = file.read(footer_offset - summary_offset)
    index = McapIndex()
    statistics = None
    try:
        for opcode, start, end in mcap_records.records(summary):
            content = summary[start:end]
            index.learn(opcode, content)
            if opcode == Opcode.CHUNK_INDEX:
                index.blocks.append(_block_of(mcap_records.parse_chunk_index(content)))
            elif opcode == Opcode.STATISTICS:
                statistics = mcap_records.parse_statistics(content)
    except MALFORMED:
        return None
    if (
        statistics is None
        or statistics.chunks != len(index.blocks)
        or (statistics.messages and not index.blocks)
        or not index.channels.keys() >= statistics.counts.keys()
        or any(channel.schema_id not in index.schemas for channel in index.channels.values())
        or any(block.offset + block.length > summary_offset for block in index.blocks)
    ):
        return None
    index.counts.update(statistics.counts)
    if statistics.messages:
        index.start_ns, index.end_ns = statistics.start_ns, statistics.end_ns
    return index


def _block_of(chunk: mcap_records.ChunkIndex) -> Block:
    return Block(
        offset=chunk.offset + RECORD_HEADER.size,
        length=chunk.length - RECORD_HEADER.size,
        start_ns=chunk.start_ns,
        end_ns=chunk.end_ns,
        channels=chunk.channels,
    )


def index_by_scanning(file: BinaryIO, size: int) -> McapIndex:
    """The index of a file without a whole summary, over everything that can be read from its start.

    Chunks are skipped by their own indexes where those are whole, so that this reads little.
    """
    return _Scan(file, size).run()


class _Scan:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.index = McapIndex()
        self.first_ns: int | None = None
        self.last_ns = 0
        self.left_out = 0  # damaged chunks
        self.loose: list[int] = []  # offset, end, start_ns, end_ns of the open run
        self.loose_channels: set[int] = set()
        self.chunk: tuple[int, int, Counter[int], list[int]] | None = None

    def run(self) -> McapIndex:
        end, reason = self._walk()
        self._finish_chunk(trust_index=not reason)
        self._finish_loose()
        index = self.index
        index.start_ns, index.end_ns = self.first_ns or 0, self.last_ns
        messages = index.counts.total()
        reach = (
            f"{messages} messages of {(self.last_ns - (self.first_ns or 0)) / 1e9:.3f} s can be "
            f"read, up to byte {end} of {self.size}"
        )
        if self.left_out:
            reach += f", without {self.left_out} damaged chunks"
        index.damage = f"{reason or 'it has no index and was scanned'}; {reach}"
        return index

    def _walk(self) -> tuple[int, str]:
        """Visit the records; returns where the last whole one ends, and why it stopped early."""
        position = len(mcap_records.MAGIC)
        while position + RECORD_HEADER.size <= self.size:
            self.file.seek(position)
            opcode, length = RECORD_HEADER.unpack(self.file.read(RECORD_HEADER.size))
            content, end = position + RECORD_HEADER.size, position + RECORD_HEADER.size + length
            too_large = length > MAX_RECORD_BYTES and opcode in _READ_WHOLE
            if opcode == 0 or Opcode.DATA_END < opcode < 0x80 or too_large:
                return position, f"it is damaged at byte {position}"
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return position, ""
            cut = end > self.size
            if cut and opcode != Opcode.CHUNK:
                return position, "its end is missing"
            try:
                self._visit(opcode, content, min(length, self.size - content), position, cut)
            except MALFORMED:
                return position, f"it is damaged at byte {position}"
            if cut:
                return position, "its end is missing"
            position = end
        return min(position, self.size), "its end is missing"

    def _visit(self, opcode: int, content: int, length: int, position: int, cut: bool) -> None:
        if opcode == Opcode.MESSAGE_INDEX and self.chunk:
            channel, stamps = mcap_records.parse_message_index(self.file.read(length))
            self.chunk[2][channel] += len(stamps)
            self.chunk[3].extend(stamps)
            return
        self._finish_chunk()
        if opcode == Opcode.MESSAGE:
            if length < MESSAGE_HEADER.size:
                raise IndexError("a message shorter than its header")
            channel, _, stamp, _ = MESSAGE_HEADER.unpack(self.file.read(MESSAGE_HEADER.size))
            self._add_loose(channel, stamp, position, content + length)
        elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
            self.index.learn(opcode, self.file.read(length))
        elif opcode == Opcode.CHUNK:
            self._finish_loose()
            self.chunk = (content, length, Counter(), [])
            if cut:
                self._finish_chunk(trust_index=False, cut=True)

    def _add_loose(self, channel: int, stamp: int, start: int, end: int) -> None:
        self._count(Counter({channel: 1}), [stamp])
        if self.loose and (self.loose[1] != start or end - self.loose[0] > _LOOSE_BLOCK_BYTES):
            self._finish_loose()
        if self.loose:
            self.loose[1] = end
            self.loose[2], self.loose[3] = min(stamp, self.loose[2]), max(stamp, self.loose[3])
        else:
            self.loose = [start, end, stamp, stamp]
        self.loose_channels.add(channel)

    def _finish_loose(self) -> None:
        if self.loose:
            start, end, first, last = self.loose
            channels = frozenset(self.loose_channels)
            self.index.blocks.append(Block(start, end - start, first, last, channels, loose=True))
        self.loose = []
        self.loose_channels.clear()

    def _finish_chunk(self, trust_index: bool = True, cut: bool = False) -> None:
        """Take up the open chunk, by its message indexes if they are whole, else by its content."""
        if self.chunk is None:
            return
        offset, length, counts, stamps = self.chunk
        self.chunk = None
        block = Block(offset, length, 0, 0, frozenset(), cut=cut)
        if not (trust_index and counts and counts.keys() <= self.index.channels.keys()):
            counts, stamps = Counter(), []
            try:
                plain, _ = read_block(self.file, block)
                for opcode, start, end in mcap_records.records(plain):
                    if opcode == Opcode.MESSAGE:
                        channel, _, stamp, _ = MESSAGE_HEADER.unpack_from(plain, start)
                        counts[channel] += 1
                        stamps.append(stamp)
                    elif opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                        self.index.learn(opcode, plain[start:end])
            except (DamagedData, *MALFORMED):
                # The rest of the file may be whole: only this block is left out.
                self.left_out += 0 if cut else 1
                return
        if not stamps:
            return
        self._count(counts, stamps)
        self.index.blocks.append(
            Block(offset, length, min(stamps), max(stamps), frozenset(counts), cut=cut)
        )

    def _count(self, counts: Counter[int], stamps: list[int]) -> None:
        self.index.counts.update(counts)
        first, last = min(stamps), max(stamps)
        self.first_ns = first if self.first_ns is None else min(self.first_ns, first)
        self.last_ns = max(self.last_ns, last)


def block_messages(plain: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Channel, log time, and start and end of the data of each message of a block's records."""
    for opcode, start, end in mcap_records.records(plain):
        if opcode == Opcode.MESSAGE and end - start >= MESSAGE_HEADER.size:
            channel, _, stamp, _ = MESSAGE_HEADER.unpack_from(plain, start)
            yield channel, stamp, start + MESSAGE_HEADER.size, end
