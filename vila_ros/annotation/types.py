# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What annotation hands around: why a moment was chosen, what was drafted, what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vila_ros.errors import InvalidRequest

Verdict = Literal["pending", "accepted", "rejected"]
VERDICTS: tuple[Verdict, ...] = ("pending", "accepted", "rejected")
Action = Literal["edit", "accept", "reject", "undo"]
ACTIONS: tuple[Action, ...] = ("edit", "accept", "reject", "undo")


class InvalidAnnotationFolder(InvalidRequest):
    """A folder that holds no annotations, damaged ones, or those of another run."""


class StaleRevision(InvalidRequest):
    """A decision that was based on an older state than the one that is stored."""

    def __init__(self, message: str, current: Review) -> None:
        super().__init__(message)
        self.current = current


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a moment is worth a look.

    miner: what found it, such as "novelty". text: one line for people. score: 0 to 1, the higher
    the more worth it. details: the numbers behind it, plain JSON values in SI units.
    """

    miner: str
    text: str
    score: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A frame that is worth a person's look.

    id: unique within the folder, of letters, digits, ".", "_" and "-". recording: where it was
    read from, an absolute path. topic: of the camera's images. stamp_ns: the header's stamp;
    recorded_ns: when it was recorded, by which a recording is sought. width, height: pixels.
    image: the frame's file relative to the folder; the recording's own bytes where these were a
    JPEG or PNG file. score: 0 to 1, of all reasons together. also: how many other frames were
    left out as near-duplicates of this one.
    """

    id: str
    recording: str
    camera: str
    topic: str
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    width: int
    height: int
    image: str
    score: float
    reasons: tuple[Reason, ...]
    also: int = 0


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """One answer behind a draft. error: why it was not used, "" if it was."""

    section: str
    prompt: str
    text: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model proposes.

    annotation: in CODA-LM's structure, see vila_ros.annotation.coda_lm; empty where the model gave
    nothing usable. model, runtime: what wrote it, "" without an engine. answers: as they came.
    """

    candidate_id: str
    annotation: Mapping[str, Any]
    model: str = ""
    runtime: str = ""
    answers: tuple[RawAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """One step of a review, with the whole state after it.

    revision: counts up from 1. parent: the revision that undo returns to; 0 is the draft, -1 says
    that this state is the draft again, with nothing left to undo. time_ns: since the Unix epoch.
    """

    revision: int
    parent: int
    action: Action
    verdict: Verdict
    annotation: Mapping[str, Any]
    reviewer: str
    time_ns: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """What is stored of a candidate's review; revision 0 is the draft, undecided.

    edited: whether the annotation differs from the draft. history: oldest first.
    """

    candidate_id: str
    revision: int
    verdict: Verdict
    annotation: Mapping[str, Any]
    edited: bool
    reviewer: str = ""
    note: str = ""
    history: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewedAnnotation:
    """An annotation that a person stands by (or a draft, where drafts were asked for).

    recording, topic, stamp_ns, recorded_ns: which frame it belongs to, as in Candidate. image: the
    frame's file, absolute. annotation: in CODA-LM's structure, boxes as [x, y, width, height] in
    pixels of that image. reviewer: "" for a draft. model: what drafted it. decided_ns: since the
    Unix epoch, 0 for a draft.
    """

    candidate: Candidate
    recording: Path
    camera: str
    topic: str
    stamp_ns: int
    recorded_ns: int
    image: Path
    annotation: Mapping[str, Any]
    verdict: Verdict
    edited: bool
    reviewer: str
    model: str
    decided_ns: int
    note: str = ""
