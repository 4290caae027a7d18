# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples of reviewed annotations: CODA-LM's three tasks on the frames that people looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vila_ros.annotation.coda_lm import SUMMARY
from vila_ros.annotation.store import reviewed
from vila_ros.datasets.drafts import Draft, media_then
from vila_ros.datasets.picking import Pick
from vila_ros.datasets.records import ExportedSample, MediaFile, Turn
from vila_ros.datasets.template import MEDIA_MARK

GENERAL, REGION, SUGGESTION = "general_perception", "region_perception", "driving_suggestion"
QUESTIONS = {
    GENERAL: "Describe everything in this picture that matters for driving: vehicles, people and "
    "cyclists, traffic signs, traffic lights, cones, barriers and other objects. Say where each "
    "is and why it matters.",
    REGION: "What is in the region [{x0:g}, {y0:g}, {x1:g}, {y1:g}] of this picture, and why does "
    "it matter for driving?",
    SUGGESTION: "What should the driver of this vehicle do now, and why?",
}


@dataclass(frozen=True, slots=True)
class FrameAnnotation:
    """A reviewed annotation of one frame, as a task needs it."""

    topic: str
    stamp_ns: int
    recorded_ns: int
    annotation: Mapping[str, Any]
    provenance: Mapping[str, Any]


def annotations_by_recording(folders: Iterable[Path]) -> dict[Path, list[FrameAnnotation]]:
    """What was accepted in some annotation folders, by the recording's resolved path.

    Raises InvalidAnnotationFolder for a folder that is none or damaged.
    """
    found: dict[Path, list[FrameAnnotation]] = {}
    for folder in folders:
        for each in reviewed(folder):
            found.setdefault(each.recording.resolve(), []).append(
                FrameAnnotation(
                    each.topic,
                    each.stamp_ns,
                    each.recorded_ns,
                    each.annotation,
                    {
                        "annotation": each.candidate.id,
                        "reviewer": each.reviewer,
                        "edited": each.edited,
                        "model": each.model,
                        "decided_ns": each.decided_ns,
                        "reasons": [reason.text for reason in each.candidate.reasons],
                    },
                )
            )
    return found


def annotated_drafts(recording: str, annotations: Iterable[FrameAnnotation]) -> Iterator[Draft]:
    """A draft for each text of each annotation; all carry the whole annotation."""
    for each in annotations:
        pick = Pick(each.topic, each.recorded_ns, each.stamp_ns)
        for number, (rule, name, question, answer) in enumerate(_texts(each.annotation)):
            yield Draft(
                (each.recorded_ns, -1, number),
                name,
                (pick,),
                _finisher(recording, each, rule, question, answer),
            )


def _finisher(recording: str, each: FrameAnnotation, rule: str, question: str, answer: str) -> Any:
    def finish(sample_id: str, media: tuple[MediaFile, ...]) -> ExportedSample | str:
        if MEDIA_MARK in answer:
            return f"{MEDIA_MARK} in an annotation"
        return ExportedSample(
            sample_id,
            "",
            "annotated",
            rule,
            recording,
            (Turn("user", media_then(1, question)), Turn("assistant", (answer,))),
            media,
            "planning" if rule == SUGGESTION else "perception",
            each.annotation,
            provenance=each.provenance,
        )

    return finish


def _texts(annotation: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Rule, name, question and answer of each text that is not empty."""
    general = annotation[GENERAL].get(SUMMARY, "").strip()
    if general:
        yield GENERAL, GENERAL, QUESTIONS[GENERAL], general
    for key, region in annotation[REGION].items():
        x, y, width, height = region["box"]
        question = QUESTIONS[REGION].format(x0=x, y0=y, x1=x + width, y1=y + height)
        if answer := region[SUMMARY].strip():
            yield REGION, f"{REGION}_{key}", question, answer
    if suggestion := annotation[SUGGESTION].strip():
        yield SUGGESTION, SUGGESTION, QUESTIONS[SUGGESTION], suggestion
