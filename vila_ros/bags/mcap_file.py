# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One MCAP file with ROS 2 messages.

Read by its index, or where that is missing by what a scan finds, in both cases through the same
blocks. The rosbags library reads whole files only, which a recorder that lost power does not leave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

from vila_ros.bags import mcap_records
from vila_ros.bags.compression import DamagedData, decompress_message
from vila_ros.bags.mcap_index import (
    Block,
    McapIndex,
    block_messages,
    index_by_scanning,
    index_from_summary,
    read_block,
)
from vila_ros.bags.quality_of_service import all_transient_local
from vila_ros.bags.time_order import Span, merge_in_time
from vila_ros.bags.types import RecordedMessage, Topic, Warnings
from vila_ros.errors import InvalidRecording


class McapFile:
    """A storage file; see StorageFile. Raises InvalidRecording if it is no MCAP file.

    name: how warnings call it.
    """

    def __init__(self, path: Path, warnings: Warnings, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        self.warnings = warnings
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                magic = file.read(len(mcap_records.MAGIC))
                if magic != mcap_records.MAGIC:
                    raise InvalidRecording(
                        f"'{self.name}' is no MCAP file: it begins with {magic[:8]!r}"
                        if magic
                        else f"'{self.name}' is empty (0 bytes)."
                    )
                index = index_from_summary(file, size) or index_by_scanning(file, size)
        except OSError as error:
            raise InvalidRecording(f"'{path}' cannot be read: {error.strerror}.") from error
        if index.damage:
            warnings.add(f"{self.name}: {index.damage}.")
        self._types = {
            channel.id: index.schemas[channel.schema_id].name
            for channel in index.channels.values()
            if channel.encoding == "cdr" and channel.schema_id in index.schemas
        }
        for channel in index.channels.values():
            if channel.id not in self._types and index.counts[channel.id]:
                warnings.add(
                    f"{self.name}: {channel.topic} is left out: its messages are encoded as "
                    f"'{channel.encoding}', ROS 2 has 'cdr'."
                )
        self._index = index
        self.topics = _topics(index, self._types)
        self.start_ns, self.end_ns = index.start_ns, index.end_ns
        self.damaged = bool(index.damage)

    def definition(self, message_type: str) -> str:
        """The text of a message definition, or the empty string."""
        for schema in self._index.schemas.values():
            if schema.name == message_type:
                return schema.definition
        return ""

    def messages(
        self, topics: Collection[str], start_ns: int, end_ns: int
    ) -> Iterator[RecordedMessage]:
        """Messages of these topics with start_ns <= stamp <= end_ns, in time order."""
        channels = {
            number: (self._index.channels[number].topic, message_type)
            for number, message_type in self._types.items()
            if self._index.channels[number].topic in topics
        }
        return merge_in_time(
            Span(block.start_ns, partial(self._read, block, channels, start_ns, end_ns))
            for block in self._index.blocks
            if block.start_ns <= end_ns
            and block.end_ns >= start_ns
            and (not block.channels or not block.channels.isdisjoint(channels))
        )

    def _read(
        self, block: Block, channels: dict[int, tuple[str, str]], start_ns: int, end_ns: int
    ) -> Iterator[RecordedMessage]:
        try:
            with self.path.open("rb") as file:
                plain, damage = read_block(file, block)
        except DamagedData as error:
            self.warnings.add(f"{self.name}: the chunk at byte {block.offset} is skipped: {error}.")
            return
        except OSError as error:
            raise InvalidRecording(f"'{self.path}' cannot be read: {error.strerror}.") from error
        if damage:
            self.warnings.add(f"{self.name}: the chunk at byte {block.offset}: {damage}.")
        found = [
            (stamp, channel, start, end)
            for channel, stamp, start, end in block_messages(plain)
            if channel in channels and start_ns <= stamp <= end_ns
        ]
        found.sort(key=lambda entry: entry[0])
        for stamp, channel, start, end in found:
            topic, message_type = channels[channel]
            try:
                data = decompress_message(plain[start:end])
            except DamagedData as error:
                self.warnings.add(f"{self.name}: a message of {topic} is skipped: {error}.")
                continue
            yield RecordedMessage(topic, message_type, stamp, data)


def _topics(index: McapIndex, types: dict[int, str]) -> dict[str, Topic]:
    """Topics by name; several channels of one topic count together."""
    topics: dict[str, Topic] = {}
    for number, message_type in types.items():
        channel = index.channels[number]
        before = topics.get(channel.topic, Topic(message_type, 0, latched=True))
        topics[channel.topic] = Topic(
            before.type,
            before.count + index.counts[number],
            before.latched
            and all_transient_local(channel.metadata.get("offered_qos_profiles", "")),
        )
    return topics
