# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was reviewed, in the formats that others read.

images/train_0001.jpg                      the frames, as they were recorded
index.jsonl                                where each is from, who reviewed it, what drafted it
coda_lm/train_0001.json                    CODA-LM, one file an image
vqa/general_perception.jsonl, …            CODA-LM's questions and answers, a line each
foxglove/RECORDING/                        ImageAnnotations in mcap, with the frames
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vila_ros.annotation.coda_lm import GROUPS, SUMMARY
from vila_ros.annotation.foxglove import write_recording
from vila_ros.annotation.records import to_line
from vila_ros.annotation.selection import recording_names
from vila_ros.annotation.store import reviewed
from vila_ros.annotation.types import InvalidAnnotationFolder, ReviewedAnnotation, Verdict
from vila_ros.errors import InvalidRequest

FORMATS = ("coda_lm", "vqa", "foxglove")
SPLIT = "train"

GENERAL_QUESTION = (
    "This is the road ahead of a vehicle. Describe all objects that affect how it should drive: "
    "vehicles, vulnerable road users, traffic signs, traffic lights, traffic cones, barriers and "
    "other objects. Say what each looks like, where it is, and why it matters."
)
REGION_QUESTION = (
    "Describe the object in the box {box} (left, top, width, height in pixels), and explain why it "
    "affects how the vehicle should drive."
)
SUGGESTION_QUESTION = (
    "This is the road ahead of a vehicle. How should it drive now, considering all that is there?"
)


def write_output(
    folder: Path, out: Path, formats: Sequence[str] = FORMATS, drafts: bool = False
) -> list[str]:
    """Write what was accepted, whole or not at all; returns what was written, a line each.

    drafts: also drafts that nobody has decided on yet. Raises InvalidRequest if `out` is there
    already or nothing was accepted, InvalidAnnotationFolder if it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidRequest(f"'{out}' is there already; name a new folder.")
    verdicts: tuple[Verdict, ...] = ("accepted", "pending") if drafts else ("accepted",)
    annotations = list(reviewed(folder, verdicts))
    if not annotations:
        raise InvalidRequest(
            f"nothing in '{folder}' was accepted yet; review it with `vila review {folder}`, or "
            "take the drafts as they are with --drafts."
        )
    part = out.with_name(out.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        told = _write(part, annotations, formats)
        if out.exists():
            out.rmdir()  # empty, see above
        os.replace(part, out)
    except OSError as error:
        raise InvalidAnnotationFolder(
            f"'{out}' cannot be written: {error.strerror or error}. Nothing was left there."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [*told, f"in {out}"]


def _write(
    part: Path, annotations: Sequence[ReviewedAnnotation], formats: Sequence[str]
) -> list[str]:
    names = [f"{SPLIT}_{number:04d}" for number in range(1, len(annotations) + 1)]
    (part / "images").mkdir()
    with (part / "index.jsonl").open("w", encoding="utf-8") as index:
        for name, each in zip(names, annotations, strict=True):
            image = f"images/{name}{each.image.suffix}"
            shutil.copyfile(each.image, part / image)
            index.write(to_line(_provenance(name, image, each)))
    told = [f"{len(annotations):6} images"]
    if "coda_lm" in formats:
        (part / "coda_lm").mkdir()
        for name, each in zip(names, annotations, strict=True):
            text = json.dumps(each.annotation, ensure_ascii=False, indent=1)
            (part / "coda_lm" / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        told.append(f"{len(annotations):6} CODA-LM files")
    if "vqa" in formats:
        told.append(f"{_write_questions(part, names, annotations):6} questions and answers")
    if "foxglove" in formats:
        told.append(f"{_write_recordings(part, annotations):6} recordings for Foxglove")
    return told


def _provenance(name: str, image: str, each: ReviewedAnnotation) -> dict[str, Any]:
    return {
        "id": name,
        "image": image,
        "candidate": each.candidate.id,
        "recording": str(each.recording),
        "topic": each.topic,
        "stamp_ns": each.stamp_ns,
        "verdict": each.verdict,
        "edited": each.edited,
        "reviewer": each.reviewer,
        "decided_ns": each.decided_ns,
        "model": each.model,
        "reasons": [reason.text for reason in each.candidate.reasons],
    }


def _write_questions(
    part: Path, names: Sequence[str], annotations: Sequence[ReviewedAnnotation]
) -> int:
    """A file a kind of question; what has no answer is not asked."""
    count = 0
    (part / "vqa").mkdir()
    for kind in ("general_perception", "region_perception", "driving_suggestion"):
        with (part / "vqa" / f"{kind}.jsonl").open("w", encoding="utf-8") as file:
            for name, each in zip(names, annotations, strict=True):
                for suffix, question, answer in _questions(kind, each.annotation):
                    count += 1
                    file.write(
                        to_line(
                            {
                                "question_id": f"{name}{suffix}",
                                "image": f"images/{name}{each.image.suffix}",
                                "question": question,
                                "answer": answer,
                            }
                        )
                    )
    return count


def _questions(kind: str, annotation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What is added to the question's id, the question, and its answer."""
    if kind == "general_perception":
        answer = general_text(annotation["general_perception"])
        if answer:
            yield "", GENERAL_QUESTION, answer
    elif kind == "driving_suggestion":
        if annotation[kind].strip():
            yield "", SUGGESTION_QUESTION, annotation[kind].strip()
    else:
        for number, region in annotation[kind].items():
            said = region[SUMMARY].strip()
            category = region["category_name"].replace("_", " ").strip()
            answer = f"{category}: {said}" if category and said else category or said
            if answer:
                yield f"_{number}", REGION_QUESTION.format(box=region["box"]), answer


def general_text(general: Mapping[str, Any]) -> str:
    """The general perception as sentences: each group's things, then the scene."""
    lines = []
    for group in GROUPS:
        for item in general[group]:
            said = " ".join(text.strip() for text in item.values() if text.strip())
            if said:
                lines.append(f"{group.replace('_', ' ').capitalize()}: {said}")
    if general[SUMMARY].strip():
        lines.append(general[SUMMARY].strip())
    return "\n".join(lines)


def _write_recordings(part: Path, annotations: Sequence[ReviewedAnnotation]) -> int:
    by_recording: dict[Path, list[ReviewedAnnotation]] = {}
    for each in annotations:
        by_recording.setdefault(each.recording, []).append(each)
    names = recording_names(list(by_recording))
    for name, found in zip(names, by_recording.values(), strict=True):
        write_recording(part / "foxglove" / name, found)
    return len(by_recording)
