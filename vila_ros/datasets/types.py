# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What training data is, whatever format it is stored in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True, eq=False)
class ImageSource:
    """A picture that is read when it is needed: a file, or an encoded file's bytes (jpeg, png).

    Exactly one of path and data is given. key: names the content for caches and provenance, for
    example "drive_01/front@1700000000000000000"; "" takes the path.
    """

    path: Path | None = None
    data: bytes | None = None
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ClipSource:
    """A clip as one medium: its frames in time order, or a video file of which `count` frames are
    taken evenly.

    Exactly one of frames and path is given. times: seconds of each frame since the first, () if
    they are not known.
    """

    frames: tuple[ImageSource, ...] = ()
    path: Path | None = None
    count: int = 8
    times: tuple[float, ...] = ()


SourcePart = str | ImageSource | ClipSource
"""A piece of a turn, in reading order. Text holds no media marks; media stand where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class SampleTurn:
    """One turn. role "text" is a document's body, of which every text token is learnt."""

    role: Literal["system", "user", "assistant", "text"]
    parts: tuple[SourcePart, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One piece of training data.

    A conversation: an optional system turn, then user and assistant turns alternating, ending with
    an assistant's; only the assistant's turns are learnt. A document (interleaved web page, caption
    pair): one turn of role "text".
    origin: where it stands for messages to people, "file:line" or "file#index".
    provenance: where it came from, plain JSON values: recording, topic, stamps, rule, reviewer.
    """

    id: str
    turns: tuple[SampleTurn, ...]
    origin: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
