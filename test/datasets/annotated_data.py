# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of reviewed annotations of a small recording, written by the annotation room itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from test.datasets.export_data import FRONT, START_NS, TENTH, jpeg
from vila_ros.annotation.coda_lm import empty_annotation
from vila_ros.annotation.store import FORMAT, VERSION, AnnotationFolder
from vila_ros.annotation.types import Candidate, Reason

ANNOTATION = {
    **empty_annotation(),
    "region_perception": {
        "1": {
            "description and explanation": "A cone on the lane; drive around it.",
            "box": [4, 6, 10, 12],
            "category_name": "traffic_cone",
        }
    },
    "driving_suggestion": "Slow down.",
}
ANNOTATION["general_perception"]["description and explanation"] = "A road with a cone."


def write_annotations(folder: Path, recording: Path, accepted: dict[int, bool]) -> Path:
    """Candidates for some frames of the recording, by their numbers; True accepts them."""
    (folder / "images").mkdir(parents=True)
    manifest = {"format": FORMAT, "version": VERSION, "settings": {}}
    (folder / "annotations.json").write_text(json.dumps(manifest))
    rows = []
    for index in accepted:
        stamp = START_NS + index * TENTH
        name = f"frame-{index}"
        (folder / "images" / f"{name}.jpg").write_bytes(jpeg(index))
        rows.append(
            Candidate(
                name, str(recording.absolute()), "front", FRONT, stamp, stamp, "camera0", 48, 32,
                f"images/{name}.jpg", 0.9, (Reason("novelty", "unlike the others", 0.9),),
            )
        )  # fmt: skip
    (folder / "candidates.jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in rows))
    opened = AnnotationFolder(folder, clock=lambda: START_NS)
    for index, accept in accepted.items():
        action = "accept" if accept else "reject"
        opened.decide(f"frame-{index}", action, 0, ANNOTATION, reviewer="ada")
    return folder
