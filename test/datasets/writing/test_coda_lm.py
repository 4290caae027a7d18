# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import jsonschema
import pytest

from test.datasets.annotated_data import ANNOTATION, write_annotations
from test.datasets.export_data import (
    SPEED_TEMPLATE,
    START_NS,
    TENTH,
    export,
    jpeg,
    lines,
    write_recording,
)
from vila_ros.datasets.split import SplitRule
from vila_ros.errors import InvalidRequest

WHOLE = SplitRule(val=0)
ITEMS = {
    "type": "array",
    "items": {"type": "object", "required": ["description", "explanation"]},
}
GROUPS = (
    "vehicles",
    "vulnerable_road_users",
    "traffic signs",
    "traffic lights",
    "traffic cones",
    "barriers",
    "other objects",
)
SCHEMA = {
    "type": "object",
    "required": ["general_perception", "region_perception", "driving_suggestion"],
    "properties": {
        "general_perception": {
            "required": ["description and explanation"],
            "properties": dict.fromkeys(GROUPS, ITEMS),
        },
        "region_perception": {
            "patternProperties": {
                "^[0-9]+$": {
                    "required": ["description and explanation", "box", "category_name"],
                    "properties": {"box": {"minItems": 4, "maxItems": 4}},
                }
            },
            "additionalProperties": False,
        },
        "driving_suggestion": {"type": "string"},
    },
}


@pytest.fixture
def recording(tmp_path):
    return write_recording(tmp_path / "drive")


def test_reviewed_annotations_are_written_as_coda_lm_has_them(tmp_path, recording):
    folder = write_annotations(tmp_path / "notes", recording, {3: True, 5: False, 17: True})
    export(tmp_path, recording, annotations=(folder,), format="coda_lm", split=WHOLE, slice=1.0)
    out = tmp_path / "out"
    for number, index in (("0001", 3), ("0002", 17)):
        annotation = json.loads((out / f"CODA-LM/Train/train_{number}.json").read_text())
        jsonschema.validate(annotation, SCHEMA)
        assert annotation == ANNOTATION
        assert (out / f"train/images/{number}.jpg").read_bytes() == jpeg(index)
    assert len(list((out / "train/images").iterdir())) == 2
    questions = lines(out / "CODA-LM/Train/vqa_anno/region_perception.jsonl")
    assert [row["question_id"] for row in questions] == [0, 1]
    assert "[4, 6, 14, 18]" in questions[0]["question"]
    assert questions[0]["answer"] == "A cone on the lane; drive around it."
    assert questions[1]["image"] == "train/images/0002.jpg"
    (provenance, *_) = lines(out / "provenance.jsonl")
    assert (provenance["reviewer"], provenance["annotation"]) == ("ada", "frame-3")


def test_other_questions_stand_beside_as_vqa_lines(tmp_path, recording):
    export(tmp_path, recording, template=SPEED_TEMPLATE, format="coda_lm", split=WHOLE)
    rows = lines(tmp_path / "out/CODA-LM/Train/vqa_anno/pace.jsonl")
    assert len(rows) == 8
    assert set(rows[0]) == {"question_id", "image", "question", "answer"}
    assert not list((tmp_path / "out/CODA-LM/Train").glob("*.json"))


def test_clips_are_refused_before_anything_is_written(tmp_path, recording):
    template = 'samples: [{name: a, media: video, question: "b?", answer: c}]'
    with pytest.raises(
        InvalidRequest, match=r"'coda_lm' cannot hold the sample 'a' of .*: CODA-LM "
    ):
        export(tmp_path, recording, template=template, format="coda_lm")
    assert not (tmp_path / "out").exists()


def test_annotations_of_other_recordings_are_told(tmp_path, recording):
    other = write_recording(tmp_path / "other", start_ns=START_NS + 1000 * TENTH)
    folder = write_annotations(tmp_path / "notes", tmp_path / "gone", {3: True})
    with pytest.raises(InvalidRequest, match="None of the annotations belongs"):
        export(tmp_path, recording, other, annotations=(folder,), format="coda_lm")
