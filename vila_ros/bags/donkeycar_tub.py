# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A donkeycar tub (version 2) as a recording: camera images, steering and throttle.

A tub is manifest.json, catalog_N.catalog with a JSON object a line, and images/ with a JPEG a
record (donkeycar/parts/tub_v2.py and datastore_v2.py in autorope/donkeycar). It is read from its
folder or out of a .tar or .tar.gz archive.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    STAMPS,
    camera_topic,
    image_format,
    serialize_compressed_image,
)
from vila_ros.bags.file_tree import ArchiveTree, FileTree, FolderTree
from vila_ros.bags.made_up_time import stamp_at_rate
from vila_ros.bags.natural_order import natural_order
from vila_ros.bags.serialization import serialize_float32
from vila_ros.bags.types import RecordedMessage, Topic, Warnings, chosen_topics
from vila_ros.errors import InvalidRecording

FLOAT32 = "std_msgs/msg/Float32"
DEFAULT_RATE = 20.0  # donkeycar's DRIVE_LOOP_HZ
CAMERA = "camera"
CAMERA_TOPIC = camera_topic(CAMERA)
MARKER = "manifest.json"
MAX_CATALOG_BYTES = 256 << 20
MAX_IMAGE_BYTES = 64 << 20
_ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz")
# Topic of each number of a record, by its name in the tub: steering in -1 (left) to 1 (right),
# throttle in -1 (reverse) to 1.
_NUMBERS = {"user/angle": "/user/angle", "user/throttle": "/user/throttle"}
# A car records some 20 records a second; less time than this between two is how fast a tub was
# copied, not how fast a car drove.
_LEAST_INTERVAL_MS = 10.0


@dataclass(frozen=True, slots=True)
class _Record:
    stamp_ns: int
    image: str
    numbers: tuple[tuple[str, float], ...]


class DonkeycarTub:
    """A Recording of a tub; the JPEG files' bytes are the messages' data, unchanged.

    rate: records a second, or None for the tub's own times where they can be true, else 20.
    """

    def __init__(self, path: Path, files: FileTree, rate: float | None, damage: str = "") -> None:
        self.path = path
        self.warnings = Warnings()
        self._files = files
        if damage:
            self.warnings.add(f"{path.name}: {damage}; what precedes it is read.")
        self._images = frozenset(files.names("images"))
        rows = self._rows()
        stamps = self._stamps(rows, rate)
        self._records = [
            _Record(stamp, str(row["cam/image_array"]), _numbers(row))
            for stamp, row in zip(stamps, rows, strict=True)
        ]
        if not self._records:
            raise InvalidRecording(f"'{path}' is a donkeycar tub without any record with an image.")
        self.start_ns, self.end_ns = self._records[0].stamp_ns, self._records[-1].stamp_ns
        self.topics = {CAMERA_TOPIC: Topic(COMPRESSED_IMAGE, len(self._records))}
        for name, topic in _NUMBERS.items():
            count = sum(name in dict(record.numbers) for record in self._records)
            if count:
                self.topics[topic] = Topic(FLOAT32, count)

    def _rows(self) -> list[dict[str, Any]]:
        """The records that have an image, by index, without those that were deleted."""
        deleted = self._deleted()
        rows = []
        catalogs = sorted(
            (
                name
                for name in self._files.names(".")
                if name.endswith(".catalog") and not name.startswith(".")
            ),
            key=natural_order,
        )
        missing = 0
        for catalog in catalogs:
            lines = self._files.read(catalog, MAX_CATALOG_BYTES).splitlines()
            for number, line in enumerate(lines, start=1):
                row = _parse(line)
                if row is None:
                    self.warnings.add(f"{catalog}, line {number} is skipped: no record of a tub.")
                elif row["_index"] not in deleted:
                    if row["cam/image_array"] in self._images:
                        rows.append(row)
                    else:
                        missing += 1
        if missing:
            self.warnings.add(f"{self.path.name}: {missing} records are left out, without image.")
        return sorted(rows, key=lambda row: int(row["_index"]))

    def _deleted(self) -> set[int]:
        """Indexes that the user has deleted; the manifest's last line has them."""
        try:
            lines = self._files.read(MARKER, MAX_CATALOG_BYTES).splitlines()
            return {int(index) for index in json.loads(lines[-1])["deleted_indexes"]}
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            self.warnings.add(
                f"{self.path.name}: {MARKER} is damaged; no record counts as deleted."
            )
            return set()

    def _stamps(self, rows: list[dict[str, Any]], rate: float | None) -> list[int]:
        if rate is None:
            times = [row.get("_timestamp_ms") for row in rows]
            if _are_true(times):
                return [int(time) * 1_000_000 for time in times if time is not None]
            rate = DEFAULT_RATE
            self.warnings.add(
                f"{self.path.name}: the tub's times are not real; its records are given {rate:g} a "
                "second, beginning at 1 s."
            )
        return [stamp_at_rate(index, rate) for index in range(len(rows))]

    def definition(self, message_type: str) -> str:
        """Empty: the types are standard ones."""
        return ""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[RecordedMessage]:
        """See Recording."""
        chosen = chosen_topics(self, topics)
        start = self.start_ns if start_ns is None else start_ns
        end = self.end_ns if end_ns is None else end_ns
        return self._read(chosen, start, end)

    def _read(self, chosen: frozenset[str], start: int, end: int) -> Iterator[RecordedMessage]:
        for record in self._records:
            if not start <= record.stamp_ns <= end:
                continue
            if CAMERA_TOPIC in chosen and (message := self._image(record)):
                yield message
            for name, value in record.numbers:
                if _NUMBERS[name] in chosen:
                    data = serialize_float32(value)
                    yield RecordedMessage(_NUMBERS[name], FLOAT32, record.stamp_ns, data)

    def _image(self, record: _Record) -> RecordedMessage | None:
        try:
            data = self._files.read(f"images/{record.image}", MAX_IMAGE_BYTES + 1)
        except OSError as error:
            self.warnings.add(f"{record.image} is skipped: {error.strerror}.")
            return None
        kind = image_format(data)
        if not kind or len(data) > MAX_IMAGE_BYTES:
            why = f"more than {MAX_IMAGE_BYTES} bytes" if kind else "neither JPEG nor PNG"
            self.warnings.add(f"{record.image} is skipped: {why}.")
            return None
        message = serialize_compressed_image(record.stamp_ns, CAMERA, kind, data)
        return RecordedMessage(CAMERA_TOPIC, COMPRESSED_IMAGE, record.stamp_ns, message)


def is_archive(path: Path) -> bool:
    """Whether the name is that of a tar archive."""
    return path.name.lower().endswith(_ARCHIVE_SUFFIXES)


def is_tub_folder(folder: Path) -> bool:
    """Whether a folder holds a tub."""
    return (folder / MARKER).is_file() and (folder / "images").is_dir()


def open_tub(path: Path, rate: float | None = None) -> DonkeycarTub:
    """The recording of a tub's folder or archive. Raises InvalidRecording if there is none."""
    if not path.exists():
        raise InvalidRecording(f"'{path}' does not exist.")
    if path.is_dir():
        if not is_tub_folder(path):
            raise InvalidRecording(f"'{path}' is no tub: {MARKER} or images/ is not there.")
        return DonkeycarTub(path, FolderTree(path), rate)
    archive = ArchiveTree(path, MARKER)
    return DonkeycarTub(path, archive, rate, archive.damage)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        int(row["_index"])
    except (ValueError, KeyError, TypeError):
        return None
    return row if isinstance(row.get("cam/image_array"), str) else None


def _numbers(row: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(
        (name, float(row[name])) for name in _NUMBERS if isinstance(row.get(name), int | float)
    )


def _are_true(times: list[Any]) -> bool:
    """Whether a car can have recorded at these times: rising, not faster than one records,
    and such as a stamp can hold."""
    if len(times) < 2 or not all(isinstance(time, int | float) for time in times):
        return False
    intervals = [after - before for before, after in pairwise(times)]
    if times[0] < 0 or times[-1] * 1_000_000 >= STAMPS.stop:
        return False
    return min(intervals) > 0 and statistics.median(intervals) >= _LEAST_INTERVAL_MS
