# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One SQLite file with ROS 2 messages, as rosbag2's sqlite3 storage writes it.

A whole file is read through its time index. Of a damaged one the rows that can be read are found
once, and then read one by one in the order of their stamps.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import quote

import apsw

from vila_ros.bags.compression import DamagedData, decompress_message
from vila_ros.bags.quality_of_service import all_transient_local
from vila_ros.bags.types import RecordedMessage, Topic, Warnings
from vila_ros.errors import InvalidRecording

_TOPICS = """
    SELECT id, name, type, offered_qos_profiles FROM topics WHERE serialization_format = 'cdr'"""
_TOPICS_BEFORE_V2 = """
    SELECT id, name, type, NULL FROM topics WHERE serialization_format = 'cdr'"""
# Entries of the index end with the row's id, so that this order comes from the index alone.
_MESSAGES = """
    SELECT topic_id, timestamp, data FROM messages
    WHERE timestamp BETWEEN ? AND ? AND topic_id IN (SELECT value FROM json_each(?))
    ORDER BY timestamp, id"""
_MAGIC = b"SQLite format 3\0"


class SqliteFile:
    """A storage file; see StorageFile. Raises InvalidRecording if it is no recording in SQLite.

    name: how warnings call it.
    """

    def __init__(self, path: Path, warnings: Warnings, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        self.warnings = warnings
        self.start_ns = self.end_ns = 0
        self._rows: _Rows | None = None
        try:
            self.damaged = _is_cut(path, self.name)
            with closing(self._connect()) as database:
                self._read_head(database)
        except OSError as error:
            raise InvalidRecording(f"'{path}' cannot be read: {error.strerror}.") from error
        except apsw.Error as error:
            raise InvalidRecording(
                f"'{self.name}' is no recording of rosbag2 in SQLite, or nothing of it can be "
                f"read: {error}."
            ) from error

    @cached_property
    def topics(self) -> dict[str, Topic]:
        """Topics by name; counting the messages takes a pass over the file, without their data."""
        if self._rows is not None:
            counts: Mapping[int, int] = self._rows.counts
        else:
            query = "SELECT topic_id, count(*) FROM messages GROUP BY topic_id"
            with closing(self._connect()) as database:
                counts = dict(database.execute(query))
        topics: dict[str, Topic] = {}
        for number, (name, kind) in self._topic_ids.items():
            before = topics.get(name, Topic(kind, 0)).count
            topics[name] = Topic(kind, before + counts.get(number, 0), self._latched[name])
        return topics

    def definition(self, message_type: str) -> str:
        """The text of a message definition, or the empty string."""
        return self._definitions.get(message_type, "")

    def messages(
        self, topics: Collection[str], start_ns: int, end_ns: int
    ) -> Iterator[RecordedMessage]:
        """Messages of these topics with start_ns <= stamp <= end_ns, in time order."""
        chosen = {
            number: (name, message_type)
            for number, (name, message_type) in self._topic_ids.items()
            if name in topics
        }
        with closing(self._connect()) as database:
            rows = self._rows
            found: Iterator[tuple[int, int, bytes]] = (
                database.execute(_MESSAGES, (start_ns, end_ns, json.dumps(list(chosen))))
                if rows is None
                else rows.read(database, chosen, start_ns, end_ns)
            )
            try:
                for number, stamp, data in found:
                    topic, message_type = chosen[number]
                    try:
                        plain = decompress_message(data)
                    except DamagedData as error:
                        self.warnings.add(f"{self.name}: a message of {topic} is skipped: {error}.")
                        continue
                    yield RecordedMessage(topic, message_type, stamp, plain)
            except apsw.Error as error:
                self.warnings.add(f"{self.name}: reading ends early: {error}.")

    def _connect(self) -> apsw.Connection:
        """A read-only connection that leaves no files behind."""
        # A recorder that was killed leaves messages in a write-ahead log, which only a connection
        # that is not immutable reads.
        log = self.path.with_name(self.path.name + "-wal")
        has_log = not self.damaged and log.exists() and log.stat().st_size > 0
        options = "" if has_log else "&immutable=1"
        database = apsw.Connection(
            f"file:{quote(str(self.path.absolute()))}?mode=ro{options}",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            vfs=_whole_pages().vfs_name if self.damaged else None,
        )
        if self.damaged:
            # SQLite refuses a file shorter than its header says, except to those who repair schemas
            # (lockBtree in sqlite's btree.c).
            database.execute("PRAGMA writable_schema=ON")
        return database

    def _read_head(self, database: apsw.Connection) -> None:
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        if not columns or not list(database.execute("PRAGMA table_info(messages)")):
            raise InvalidRecording(
                f"'{self.name}' is an SQLite database but no recording of rosbag2: it lacks the "
                "tables 'topics' and 'messages'."
            )
        self._definitions = _definitions(database)
        topics = list(
            database.execute(_TOPICS if "offered_qos_profiles" in columns else _TOPICS_BEFORE_V2)
        )
        self._topic_ids = {number: (name, kind) for number, name, kind, _ in topics}
        self._latched = {name: all_transient_local(profile) for _, name, _, profile in topics}
        has_index = any(
            [column[2] for column in database.execute(f"PRAGMA index_info({row[1]})")][:1]
            == ["timestamp"]
            for row in database.execute("PRAGMA index_list(messages)")
        )
        if self.damaged or not has_index:
            self._rows = rows = _Rows(database, verify=self.damaged)
            self.start_ns, self.end_ns = rows.start_ns, rows.end_ns
            if self.damaged:
                self.warnings.add(f"{self.name}: {rows.reach()}.")
        else:
            ((first,),) = database.execute("SELECT min(timestamp) FROM messages")
            ((last,),) = database.execute("SELECT max(timestamp) FROM messages")
            self.start_ns, self.end_ns = first or 0, last or 0


class _Rows:
    """The rows that can be read, in the order of their stamps: 24 bytes a message in memory."""

    def __init__(self, database: apsw.Connection, verify: bool) -> None:
        self.lost = 0
        self.counts: Counter[int] = Counter()
        stamps, numbers, topics = array("q"), array("q"), array("q")
        try:
            for number, topic, stamp in database.execute(
                "SELECT id, topic_id, timestamp FROM messages NOT INDEXED"
            ):
                if verify and not _is_readable(database, number):
                    self.lost += 1
                    continue
                stamps.append(stamp)
                numbers.append(number)
                topics.append(topic)
                self.counts[topic] += 1
            self.ended_early = False
        except apsw.Error:
            self.ended_early = True
        order = sorted(range(len(stamps)), key=stamps.__getitem__)
        self._stamps = array("q", (stamps[i] for i in order))
        self._numbers = array("q", (numbers[i] for i in order))
        self._topics = array("q", (topics[i] for i in order))
        self.start_ns = self._stamps[0] if order else 0
        self.end_ns = self._stamps[-1] if order else 0

    def reach(self) -> str:
        """How far the file can be read, for people."""
        more = " and an unknown number behind them" if self.ended_early else ""
        return (
            f"its end is missing; {len(self._stamps)} messages of "
            f"{(self.end_ns - self.start_ns) / 1e9:.3f} s can be read, {self.lost}{more} are lost"
        )

    def read(
        self, database: apsw.Connection, topics: Collection[int], start_ns: int, end_ns: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """Topic id, stamp and data."""
        for stamp, number, topic in zip(self._stamps, self._numbers, self._topics, strict=True):
            if topic in topics and start_ns <= stamp <= end_ns:
                query = "SELECT data FROM messages WHERE id = ?"
                for (data,) in database.execute(query, (number,)):
                    yield topic, stamp, data


class _WholePagesFile(apsw.VFSFile):
    """A file without the page in which it was cut, whose rest SQLite would take for zeros."""

    def xFileSize(self) -> int:  # noqa: N802
        size = super().xFileSize()
        return size - size % _page_bytes(self.xRead(100, 0))


class _WholePages(apsw.VFS):
    """A way for SQLite to the file system that cuts files to whole pages; read only."""

    vfs_name = "vila_ros_whole_pages"

    def __init__(self) -> None:
        super().__init__(self.vfs_name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _WholePagesFile("", name, flags)


@cache
def _whole_pages() -> _WholePages:
    """The one instance, registered with SQLite."""
    return _WholePages()


def _is_readable(database: apsw.Connection, number: int) -> bool:
    """Whether all pages of a message are there: its last byte can be read."""
    try:
        database.execute("SELECT substr(data, -1) FROM messages WHERE id = ?", (number,)).fetchone()
    except apsw.Error:
        return False
    return True


def _definitions(database: apsw.Connection) -> dict[str, str]:
    """Message definitions, which rosbag2 writes since schema version 4."""
    try:
        return dict(
            database.execute(
                "SELECT topic_type, encoded_message_definition FROM message_definitions"
            )
        )
    except apsw.Error:
        return {}


def _is_cut(path: Path, name: str) -> bool:
    """Whether the file is shorter than its header says (https://sqlite.org/fileformat.html#1.3)."""
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        raise InvalidRecording(f"'{name}' is empty (0 bytes).")
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise InvalidRecording(f"'{name}' is no SQLite file: it begins with {header[:8]!r}.")
    pages = int.from_bytes(header[28:32], "big")
    return path.stat().st_size < pages * _page_bytes(header)


def _page_bytes(header: bytes) -> int:
    """The page size in a database's header."""
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else max(size, 512)
