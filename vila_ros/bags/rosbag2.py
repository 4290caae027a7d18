# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""rosbag2 recordings: a folder of storage files, or one storage file alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from vila_ros.bags.compression import unpacked
from vila_ros.bags.mcap_file import McapFile
from vila_ros.bags.metadata import FILE_NAME, FileTimes, Metadata, UnusableMetadata, read_metadata
from vila_ros.bags.natural_order import natural_order
from vila_ros.bags.sqlite_file import SqliteFile
from vila_ros.bags.time_order import Span, merge_in_time
from vila_ros.bags.types import RecordedMessage, Topic, Warnings, chosen_topics
from vila_ros.errors import InvalidRecording

FIRST_NS, LAST_NS = -(2**63), 2**63 - 1
_PACKED_SUFFIXES = (".zstd", ".zst")


class StorageFile(Protocol):
    """One file of a rosbag2 recording. damaged: less can be read than was recorded."""

    start_ns: int
    end_ns: int
    damaged: bool

    @property
    def topics(self) -> dict[str, Topic]:
        """Topics by name."""

    def definition(self, message_type: str) -> str:
        """The text of a message definition, or the empty string."""

    def messages(
        self, topics: Collection[str], start_ns: int, end_ns: int
    ) -> Iterator[RecordedMessage]:
        """Messages of these topics with start_ns <= stamp <= end_ns, in time order."""


_STORAGE: dict[str, Callable[[Path, Warnings, str], StorageFile]] = {
    ".mcap": McapFile,
    ".db3": SqliteFile,
}


class PackedFile:
    """A storage file compressed as a whole; unpacked while it is read, one file at a time.

    times, topics: what metadata.yaml says, so that nothing is unpacked before it is read; without
    them the file is unpacked once to look. So is one without messages: it has no times, and rosbag2
    writes the latest possible ones instead.
    """

    def __init__(
        self,
        path: Path,
        warnings: Warnings,
        times: FileTimes | None = None,
        topics: dict[str, Topic] | None = None,
    ) -> None:
        self.path, self.name, self.warnings = path, path.name, warnings
        self.damaged = False
        self._definitions: dict[str, str] = {}
        if times is not None and times.messages and topics is not None:
            self.topics = topics
            self.start_ns, self.end_ns = times.start_ns, times.end_ns
        else:
            with unpacked(path) as (plain, damage):
                file = self._open(plain, damage)
                self.topics = file.topics
                self.start_ns, self.end_ns = file.start_ns, file.end_ns
                self.damaged = file.damaged or bool(damage)

    def _open(self, plain: Path, damage: str) -> StorageFile:
        if damage:
            self.warnings.add(f"{self.name}: {damage}; what precedes it is read.")
        if damage and not plain.stat().st_size:
            raise InvalidRecording(f"'{self.path}' cannot be read: {damage}.")
        return _STORAGE[Path(self.path.stem).suffix](plain, self.warnings, self.name)

    def definition(self, message_type: str) -> str:
        """The text of a message definition, or the empty string; unpacks the file to look."""
        if message_type not in self._definitions:
            with unpacked(self.path) as (plain, damage):
                file = self._open(plain, damage)
                for topic in self.topics.values():
                    self._definitions[topic.type] = file.definition(topic.type)
        return self._definitions.get(message_type, "")

    def messages(
        self, topics: Collection[str], start_ns: int, end_ns: int
    ) -> Iterator[RecordedMessage]:
        """Messages of these topics with start_ns <= stamp <= end_ns, in time order."""
        with unpacked(self.path) as (plain, damage):
            yield from self._open(plain, damage).messages(topics, start_ns, end_ns)


class Rosbag2Recording:
    """A Recording of one or more storage files."""

    def __init__(
        self,
        path: Path,
        files: list[StorageFile],
        warnings: Warnings,
        metadata: Metadata | None = None,
    ) -> None:
        self.path = path
        self.warnings = warnings
        self._files = files
        whole = metadata is not None and not any(file.damaged for file in files)
        self.topics: Mapping[str, Topic] = (
            metadata.topics if metadata is not None and whole else _sum_topics(files)
        )
        filled = [file for file in files if file.end_ns > 0]
        self.start_ns = min((file.start_ns for file in filled), default=0)
        self.end_ns = max((file.end_ns for file in filled), default=0)

    def definition(self, message_type: str) -> str:
        """The type's message definition if the recording carries it, else the empty string."""
        for file in self._files:
            if found := file.definition(message_type):
                return found
        return ""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[RecordedMessage]:
        """See Recording."""
        chosen = chosen_topics(self, topics)
        start = FIRST_NS if start_ns is None else start_ns
        end = LAST_NS if end_ns is None else end_ns
        return merge_in_time(
            Span(file.start_ns, partial(file.messages, chosen, start, end))
            for file in self._files
            if file.start_ns <= end and file.end_ns >= start
        )


def _sum_topics(files: list[StorageFile]) -> dict[str, Topic]:
    """The topics of all files together."""
    topics: dict[str, Topic] = {}
    for file in files:
        for name, topic in file.topics.items():
            before = topics.get(name)
            count = topic.count + (before.count if before else 0)
            latched = topic.latched and (before is None or before.latched)
            topics[name] = Topic(before.type if before else topic.type, count, latched)
    return topics


def is_storage_file(path: Path) -> bool:
    """Whether the name is that of a storage file, packed or not."""
    name = Path(path.stem) if path.suffix in _PACKED_SUFFIXES else path
    return name.suffix in _STORAGE and not path.name.startswith("._")


def is_rosbag2_folder(folder: Path) -> bool:
    """Whether a folder holds metadata.yaml or storage files."""
    return (folder / FILE_NAME).is_file() or any(map(is_storage_file, folder.iterdir()))


def open_storage_file(path: Path) -> Rosbag2Recording:
    """A recording out of one storage file without its folder. Raises InvalidRecording."""
    warnings = Warnings()
    return Rosbag2Recording(path, [_open_file(path, warnings)], warnings)


def open_folder(folder: Path) -> Rosbag2Recording:
    """A recording out of a rosbag2 folder, as far as its files can be read.

    Raises InvalidRecording if none can.
    """
    warnings = Warnings()
    metadata = None
    why = "is missing, so the recorder did not end"
    try:
        metadata = read_metadata(folder)
    except UnusableMetadata as error:
        why = f"cannot be used: {error}"
    if metadata is None:
        warnings.add(f"{folder.name}: {FILE_NAME} {why}; the storage files are read by themselves.")
        paths = sorted(filter(is_storage_file, folder.iterdir()), key=natural_order)
    else:
        paths = [folder / name for name in metadata.file_names]
    files, errors = [], []
    for number, path in enumerate(paths):
        times = metadata.times[number] if metadata and metadata.times else None
        try:
            files.append(_open_file(path, warnings, times, metadata.topics if metadata else None))
        except InvalidRecording as error:
            errors.append(error)
    if not files:
        raise (
            errors[0]
            if errors
            else InvalidRecording(f"'{folder}' holds no storage file (.mcap or .db3).")
        )
    for left_out in errors:
        warnings.add(f"{folder.name}: a part is left out. {left_out.message}")
    return Rosbag2Recording(folder, files, warnings, None if errors else metadata)


def _open_file(
    path: Path,
    warnings: Warnings,
    times: FileTimes | None = None,
    topics: dict[str, Topic] | None = None,
) -> StorageFile:
    if not path.is_file():
        raise InvalidRecording(f"'{path}' does not exist.")
    if not is_storage_file(path):
        raise InvalidRecording(f"'{path}' is of no known storage: .mcap and .db3 are.")
    if path.suffix in _PACKED_SUFFIXES:
        return PackedFile(path, warnings, times, topics)
    return _STORAGE[path.suffix](path, warnings, path.name)
