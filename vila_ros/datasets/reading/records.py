# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Records of JSON and JSON Lines files, found once and read when they are needed.

Only where each record stands is kept, 24 bytes a record, so that a file of millions costs little
memory and every complaint can name a line.
"""

from __future__ import annotations

import json
import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vila_ros.errors import InvalidRequest

MAX_RECORD_BYTES = 64_000_000
LINES_SUFFIXES = (".jsonl", ".ndjson")
_SPACE = re.compile(r"[ \t\r\n]*")


class InvalidSample(InvalidRequest):
    """A sample that cannot be trained on. origin: "file:line". kind: a few words, for counting."""

    def __init__(self, origin: str, kind: str, message: str):
        super().__init__(f"{origin}: {message}")
        self.origin = origin
        self.kind = kind


@dataclass(frozen=True)
class _Spans:
    """Where records stand: (start, end) in bytes, and line, counted from 1; int64 [n, 3]."""

    places: np.ndarray
    broken: tuple[InvalidSample, ...]


class RecordFile:
    """A file of JSON objects: a list in a .json file, or one a line.

    broken: what could not be found as a record. In a list nothing behind a broken place can be
    found; in a file of lines every other line is.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        except OSError as error:
            raise InvalidRequest(f"{path}: cannot be read ({error.strerror})") from None
        if size == 0 or not start:
            raise InvalidRequest(f"{path}: an empty file")
        lines = path.suffix.lower() in LINES_SUFFIXES or not start.startswith(b"[")
        spans = self._find_lines() if lines else self._find_list()
        self._places = spans.places
        self.broken = spans.broken

    def __len__(self) -> int:
        return len(self._places)

    def origin(self, index: int) -> str:
        """Where a record stands: "file:line"."""
        return f"{self.path}:{int(self._places[index, 2])}"

    def read(self, index: int) -> dict[str, Any]:
        """A record. Raises InvalidSample."""
        start, end, _ = (int(place) for place in self._places[index])
        if end - start > MAX_RECORD_BYTES:
            raise InvalidSample(
                self.origin(index),
                "too large",
                f"a record of {end - start} bytes; at most {MAX_RECORD_BYTES} are read",
            )
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        try:
            record = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidSample(self.origin(index), "broken JSON", f"not JSON ({error})") from None
        if not isinstance(record, dict):
            raise InvalidSample(
                self.origin(index),
                "broken JSON",
                f"a {type(record).__name__} where a JSON object is expected",
            )
        return record

    def _find_lines(self) -> _Spans:
        """One record a line; empty lines are none. A file with one object over many lines, too."""
        whole = self._whole_object()
        if whole is not None:
            return whole
        places, start = [], 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    places.append((start, start + len(line), number))
                start += len(line)
        return _Spans(np.array(places, np.int64).reshape(-1, 3), ())

    def _whole_object(self) -> _Spans | None:
        """A .json file that holds a single object."""
        size = self.path.stat().st_size
        if self.path.suffix.lower() in LINES_SUFFIXES or size > MAX_RECORD_BYTES:
            return None
        try:
            json.loads(self.path.read_bytes())
        except (ValueError, RecursionError):
            return None
        return _Spans(np.array([(0, size, 1)], np.int64), ())

    def _find_list(self) -> _Spans:
        """The objects of a JSON list, each with the line that it starts on."""
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view,
        ):
            data = view[:]
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            broken = InvalidSample(f"{self.path}:{line}", "broken JSON", f"not UTF-8 ({error})")
            return _Spans(np.empty((0, 3), np.int64), (broken,))
        byte = len(data) - len(text.encode())  # of a byte order mark
        decode = json.JSONDecoder().raw_decode
        places: list[tuple[int, int, int]] = []
        at, line = text.index("[") + 1, text.count("\n", 0, text.index("[")) + 1
        byte += len(text[:at].encode())
        while True:
            space = _SPACE.match(text, at)
            assert space is not None
            line += text.count("\n", at, space.end())
            byte += space.end() - at
            at = space.end()
            if text[at : at + 1] == "]":
                return _Spans(np.array(places, np.int64).reshape(-1, 3), ())
            if places:
                if text[at : at + 1] != ",":
                    return self._torn(places, line, "expected ',' or ']' behind a record")
                space = _SPACE.match(text, at + 1)
                assert space is not None
                line += text.count("\n", at, space.end())
                byte += space.end() - at
                at = space.end()
            try:
                _, end = decode(text, at)
            except (ValueError, RecursionError) as error:
                return self._torn(places, line, str(error))
            length = len(text[at:end].encode())
            places.append((byte, byte + length, line))
            line += text.count("\n", at, end)
            at, byte = end, byte + length

    def _torn(self, places: list[tuple[int, int, int]], line: int, why: str) -> _Spans:
        broken = InvalidSample(
            f"{self.path}:{line}",
            "broken JSON",
            f"broken JSON ({why}); nothing behind it can be read, {len(places)} records before it "
            "can",
        )
        return _Spans(np.array(places, np.int64).reshape(-1, 3), (broken,))
