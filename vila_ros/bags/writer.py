# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write a rosbag2 folder that is either whole or not there.

Everything goes to "<name>.part" beside the destination and is renamed when it is complete and on
disk. A process that is killed leaves the part, which the next writer of that name removes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from vila_ros.bags.serialization import standard_types, typestore_with
from vila_ros.errors import InvalidRecording

_STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
# The latest version that every ROS 2 from Humble on reads: 9 writes QoS in another form.
_METADATA_VERSION: Literal[8] = 8
_FOREVER = QosTime(9223372036, 854775807)  # RMW_DURATION_INFINITE


class BagWriter:
    """Writes messages to a new rosbag2 folder; a context manager.

    Leaving the block normally completes the recording, leaving it by an exception removes it. All
    methods raise InvalidRecording, after which nothing is left at the destination.
    """

    def __init__(self, path: Path | str, storage: str = "mcap") -> None:
        if storage not in _STORAGES:
            raise InvalidRecording(f"Unknown storage '{storage}'; there are mcap and sqlite3.")
        self.path = Path(path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._topics: dict[str, Connection] = {}
        self._lock = -1
        self._writer: Writer | None = None
        try:
            self._claim_part()
            self._writer = Writer(
                self._part / self.path.name,
                version=_METADATA_VERSION,
                storage_plugin=_STORAGES[storage],
            )
            self._writer.open()
        except (OSError, sqlite3.Error, WriterError) as error:
            self.abort()
            raise self._failed(error) from error

    def _claim_part(self) -> None:
        """Make the part, remove what a killed writer left in it, and lock out other writers."""
        if self.path.exists():
            raise InvalidRecording(f"'{self.path}' exists already; name another or remove it.")
        self._part.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._part / "lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            # The system releases the lock however the process ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock), os.stat(self._part / "lock")):
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError) as error:
            os.close(lock)
            raise InvalidRecording(f"Another process is writing '{self.path}'.") from error
        self._lock = lock
        for left in self._part.iterdir():
            if left.is_dir():
                shutil.rmtree(left)

    def add_topic(
        self, topic: str, message_type: str, definition: str = "", latched: bool = False
    ) -> None:
        """Announce a topic; optional for standard types.

        definition: the message definition of a type that is no standard one, as
        Recording.definition gives it. latched: from transient-local publishers.
        """
        if topic in self._topics:
            return
        store = standard_types()
        if message_type not in store.types:
            if not definition:
                raise InvalidRecording(
                    f"'{message_type}' of {topic} is no standard type; give its definition."
                )
            store = typestore_with({message_type: definition})
        try:
            self._topics[topic] = self._open_writer().add_connection(
                topic, message_type, typestore=store, offered_qos_profiles=[_quality(latched)]
            )
        except (OSError, sqlite3.Error, WriterError) as error:
            self.abort()
            raise self._failed(error) from error

    def write(self, topic: str, message_type: str, stamp_ns: int, data: bytes) -> None:
        """Append a message. stamp_ns: when it was received. data: CDR with its header."""
        if topic not in self._topics:
            self.add_topic(topic, message_type)
        try:
            self._open_writer().write(self._topics[topic], stamp_ns, data)
        except (OSError, sqlite3.Error, WriterError) as error:
            self.abort()
            raise self._failed(error) from error

    def close(self) -> None:
        """Complete the recording: on disk, then at its destination. Further calls do nothing."""
        if self._writer is None:
            return
        try:
            self._writer.close()
            self._writer = None
            folder = self._part / self.path.name
            for file in (*folder.iterdir(), folder):
                _to_disk(file)
            if self.path.exists():
                raise FileExistsError(17, "it exists by now; another process wrote it")
            folder.rename(self.path)
            _to_disk(self.path.parent)
        except (OSError, sqlite3.Error, WriterError) as error:
            self.abort()
            raise self._failed(error) from error
        self._remove_part()

    def abort(self) -> None:
        """Remove everything written so far."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError, sqlite3.Error):  # what cannot be flushed is removed next
                writer.abort()
        self._remove_part()

    def _remove_part(self) -> None:
        if self._lock >= 0:
            shutil.rmtree(self._part, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise InvalidRecording(f"'{self.path}' is closed.")
        return self._writer

    def _failed(self, error: Exception) -> InvalidRecording:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        return InvalidRecording(
            f"'{self.path}' cannot be written: {reason}. Nothing was left there."
        )

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _quality(latched: bool) -> Any:
    """Reliable, as any player offers it; subscribers of every kind match."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def _to_disk(path: Path) -> None:
    """Wait until a file or a folder's entries are on disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
