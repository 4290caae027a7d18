# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from test.datasets.annotated_data import write_annotations
from test.datasets.export_data import FRONT, REAR, export, write_recording
from vila_ros.datasets.split import SplitRule
from vila_ros.errors import InvalidRequest

TEMPLATE = """\
values: {speed: {topic: /speed}}
samples:
  - {name: around, media: images, every: 1, question: "What is around?", answer: "Road."}
  - {name: plan, every: 1, cameras: [front], category: planning, question: "Next?", answer: "On."}
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drivelm")
    recording = write_recording(folder / "drive", cameras=(FRONT, REAR))
    notes = write_annotations(folder / "notes", recording, {5: True})
    export(folder, recording, template=TEMPLATE, annotations=(notes,), format="drivelm",
           split=SplitRule(val=0))  # fmt: skip
    scenes = json.loads((folder / "out/train.json").read_text())
    assert set(scenes) == {"drive"}
    return folder / "out", scenes["drive"]


def test_key_frames_have_questions_of_four_kinds(scene):
    _, found = scene
    assert isinstance(found["scene_description"], str)
    keys = {"Q", "A", "C", "con_up", "con_down", "cluster", "layer"}
    kinds = {"perception", "prediction", "planning", "behavior"}
    questions = []
    for frame in found["key_frames"].values():
        assert set(frame) == {"key_object_infos", "QA", "image_paths"}
        assert set(frame["QA"]) == kinds
        for kind, rows in frame["QA"].items():
            assert all(set(row) == keys for row in rows)
            questions += [(kind, row["Q"]) for row in rows]
    assert questions.count(("perception", "What is around?")) == 4
    assert questions.count(("planning", "Next?")) == 4


def test_a_key_frame_shows_one_picture_a_camera(scene):
    out, found = scene
    around = [frame for frame in found["key_frames"].values() if len(frame["image_paths"]) == 2]
    assert len(around) == 4
    for frame in found["key_frames"].values():
        assert set(frame["image_paths"]) <= {"CAM_FRONT", "CAM_REAR"}
        for path in frame["image_paths"].values():
            assert (out / path).is_file()


def test_regions_are_objects_named_by_camera_and_middle(scene):
    _, found = scene
    (objects,) = [f["key_object_infos"] for f in found["key_frames"].values()
                  if f["key_object_infos"]]  # fmt: skip
    assert objects == {
        "<c1,CAM_FRONT,9.0,12.0>": {
            "Category": "traffic_cone",
            "Status": None,
            "Visual_description": "A cone on the lane; drive around it.",
            "2d_bbox": [4, 6, 14, 18],
        }
    }


def test_several_pictures_of_a_camera_are_refused(tmp_path):
    recording = write_recording(tmp_path / "drive", frames=4)
    template = 'samples: [{name: a, media: images, over: 1, question: "b?", answer: c}]'
    with pytest.raises(InvalidRequest, match="one picture a camera in a key frame"):
        export(tmp_path, recording, template=template, format="drivelm")
