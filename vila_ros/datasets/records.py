# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Exported samples between a task that made them and the format that lists them: JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

Kind = Literal["image", "images", "video"]


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A picture that was written.

    file: relative to the export's folder. copied: the recording's own bytes. blurred: changed by
    the hook. stamp_ns: the header's; recorded_ns: when it was recorded.
    """

    file: str
    width: int
    height: int
    bytes: int
    copied: bool
    blurred: bool
    camera: str
    topic: str
    stamp_ns: int
    recorded_ns: int
    frame_id: str


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures shown as one video: indexes into the sample's media, and seconds since the first.

    folder: where its frames lie as zero-padded files, relative to the export's folder.
    """

    frames: tuple[int, ...]
    times: tuple[float, ...]
    folder: str = ""


Part = str | int | Clip
"""Text, a picture by its index in the sample's media, or a clip."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of a conversation; role: system, user or assistant."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The turn without its media."""
        return "".join(part for part in self.parts if isinstance(part, str)).strip()


@dataclass(frozen=True, slots=True)
class ExportedSample:
    """A sample with its pictures on disk.

    source: annotated, logged or template. rule: what made it. category: of DriveLM.
    annotation: in CODA-LM's structure where a reviewed one stands behind it. values: what topics
    said at its last frame. provenance: further plain values: reviewer, model, question id.
    """

    id: str
    split: str
    source: str
    rule: str
    recording: str
    turns: tuple[Turn, ...]
    media: tuple[MediaFile, ...]
    category: str = "perception"
    annotation: Mapping[str, Any] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """What its media are."""
        if any(isinstance(part, Clip) for turn in self.turns for part in turn.parts):
            return "video"
        return "image" if len(self.media) == 1 else "images"

    @property
    def media_first(self) -> bool:
        """Whether all media stand before all text of the first question."""
        first = next(turn for turn in self.turns if turn.role == "user")
        leading = 0
        for part in first.parts:
            if isinstance(part, str):
                break
            leading += 1
        everywhere = sum(not isinstance(part, str) for turn in self.turns for part in turn.parts)
        return leading == everywhere

    def pairs(self) -> list[tuple[str, str]]:
        """Questions and answers, without media."""
        users = [turn.text for turn in self.turns if turn.role == "user"]
        answers = [turn.text for turn in self.turns if turn.role == "assistant"]
        return list(zip(users, answers, strict=True))


def sample_to_json(sample: ExportedSample) -> dict[str, Any]:
    """A sample as plain values."""
    row = {name: getattr(sample, name) for name in _SAMPLE_FIELDS}
    row["turns"] = [
        {"role": turn.role, "parts": [_plain(part) for part in turn.parts]} for turn in sample.turns
    ]
    row["media"] = [media_to_json(media) for media in sample.media]
    return row


def media_to_json(media: MediaFile) -> dict[str, Any]:
    """A picture as plain values. (asdict copies deeply, at several times the cost.)"""
    return {name: getattr(media, name) for name in _MEDIA_FIELDS}


def _plain(part: Part) -> Any:
    return asdict(part) if isinstance(part, Clip) else part


_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one a line
_SAMPLE_FIELDS = tuple(each.name for each in fields(ExportedSample))
_MEDIA_FIELDS = tuple(each.name for each in fields(MediaFile))


def sample_from_json(row: Mapping[str, Any]) -> ExportedSample:
    """The inverse of sample_to_json, also after a way through JSON."""
    values = dict(row)
    values["turns"] = tuple(
        Turn(turn["role"], tuple(_part(part) for part in turn["parts"])) for turn in row["turns"]
    )
    values["media"] = tuple(MediaFile(**media) for media in row["media"])
    return ExportedSample(**values)


def _part(part: Any) -> Part:
    if isinstance(part, Mapping):
        return Clip(tuple(part["frames"]), tuple(part["times"]), part["folder"])
    return part  # type: ignore[no-any-return]


def write_samples(path: Path, samples: Iterable[ExportedSample]) -> int:
    """A sample a line; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(_encode(sample_to_json(sample)) + "\n")
            count += 1
    return count


def read_samples(path: Path) -> Iterator[ExportedSample]:
    """The samples of a file, one at a time."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield sample_from_json(json.loads(line))
