# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Some candidates of one recording: their frames as files and their drafts. The work of a task.

images/ID.jpg    the frame as it was recorded (.png where it was a PNG file)
drafts/ID.json   what the model proposes, where one is asked
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vila_ros.annotation.asking import Interviewer
from vila_ros.annotation.cameras import Sight, image_file, sight_of
from vila_ros.annotation.drafting import draft_annotation
from vila_ros.annotation.known_boxes import known_boxes
from vila_ros.annotation.records import candidate_from_json, candidate_to_json, draft_to_json
from vila_ros.annotation.settings import AnnotationSettings
from vila_ros.annotation.types import Candidate
from vila_ros.bags.recorded_cameras import camera_of_topic
from vila_ros.bags.recording import open_recording
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRecording
from vila_ros.fleet.engines import process_engine
from vila_ros.fleet.types import Task
from vila_ros.perception.cdr import read_header


def extract(task: Task, folder: Path) -> list[dict[str, Any]]:
    """Extract and draft; returns the candidates as they are told in candidates.jsonl.

    task.arguments: recording, candidates, settings. Raises InvalidRecording where a frame is not in
    the recording any more, and the engine's errors.
    """
    settings = AnnotationSettings.from_json(task.arguments["settings"])
    recording = open_recording(task.arguments["recording"])
    (folder / "images").mkdir()
    (folder / "drafts").mkdir()
    writes = settings.engine is not None and settings.drafts
    interviewer = Interviewer(process_engine(settings.engine)) if writes else None  # type: ignore[arg-type]
    told = []
    for row in task.arguments["candidates"]:
        candidate = candidate_from_json(row)
        sight = find_sight(recording, candidate)
        data, suffix = image_file(sight)
        candidate = replace(candidate, image=f"images/{candidate.id}{suffix}")
        (folder / candidate.image).write_bytes(data)
        if interviewer is not None:
            known = known_boxes(recording, sight) if settings.regions else []
            draft = draft_annotation(interviewer, sight, candidate.id, known, settings.regions)
            _write_json(folder / "drafts" / f"{candidate.id}.json", draft_to_json(draft))
        told.append(candidate_to_json(candidate))
    return told


def find_sight(recording: Recording, candidate: Candidate) -> Sight:
    """The candidate's frame out of its recording. Raises InvalidRecording if it is not there."""
    camera = camera_of_topic(recording, candidate.topic, candidate.camera)
    if camera is not None:
        at = candidate.recorded_ns
        for message in recording.messages([candidate.topic], at, at):
            if read_header(message.data)[0] in (candidate.stamp_ns, 0):
                return sight_of(message, camera)
    raise InvalidRecording(
        f"'{recording.path}' has no frame of {candidate.topic} at {candidate.recorded_ns} any "
        "more; it was changed since it was scanned."
    )


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
