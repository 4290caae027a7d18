# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers in recordings of their own, to recordings whose times are made up and so coincide."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from test.datasets.export_data import export
from vila_ros.datasets.split import SplitRule
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.replaying import ReplaySettings, replay_to_folder

WHOLE = SplitRule(val=0)
GREY = {"dark.drive": 30, "bright": 200}
SETTINGS = ReplaySettings(
    EngineSpec("test.evaluation.engines:SeeingEngine", "see"),
    every=1.0,
    fields={"prompt": "How bright?", "max_frames": 1, "window": 0.5},
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """Two folders of images, each of one brightness, and what `vila replay` says of them."""
    folder = tmp_path_factory.mktemp("replayed")
    for name, value in GREY.items():
        (folder / name).mkdir()
        for index in range(25):
            picture = np.full((24, 32, 3), value, np.uint8)
            cv2.imwrite(str(folder / name / f"frame_{index}.jpg"), picture)
    replay_to_folder([folder / name for name in GREY], SETTINGS, folder / "described")
    return folder


def shown_and_said(out):
    """Of each sample the recording of its picture, and what is said of it."""
    rows = json.loads((out / "train_image.json").read_text())
    return [(row["image"].split("/")[1], row["conversations"][1]["value"]) for row in rows]


@pytest.mark.parametrize("reverse", [False, True])
def test_answers_to_one_recording_are_no_labels_of_another(tmp_path, replayed, reverse):
    answers = [replayed / "described" / name for name in GREY]
    recordings = [*(replayed / name for name in GREY), *(answers[::-1] if reverse else answers)]
    export(tmp_path, *recordings, logged=True, split=WHOLE)
    dark, bright = ("dark_drive", "1 images, mean 30"), ("bright", "1 images, mean 200")
    assert shown_and_said(tmp_path / "out") == [dark] * 3 + [bright] * 3


def test_answers_are_found_by_their_file_as_well(tmp_path, replayed):
    files = [next((replayed / "described" / name).glob("*.mcap")) for name in GREY]
    export(tmp_path, *(replayed / name for name in GREY), *files, logged=True, split=WHOLE)
    assert set(shown_and_said(tmp_path / "out")) == {
        ("dark_drive", "1 images, mean 30"), ("bright", "1 images, mean 200"),
    }  # fmt: skip


def test_answers_of_another_name_are_refused_beside_several_recordings(tmp_path, replayed):
    answers = shutil.copytree(replayed / "described/bright", tmp_path / "answers")
    both = [replayed / name for name in GREY]
    with pytest.raises(InvalidRequest, match=r"it is called as none of these.*export each") as told:
        export(tmp_path, *both, answers, logged=True, split=WHOLE)
    assert all(str(path) in told.value.message for path in (answers, *both))
    export(tmp_path, replayed / "bright", answers, logged=True, split=WHOLE)
    assert set(shown_and_said(tmp_path / "out")) == {("bright", "1 images, mean 200")}


def test_answers_to_one_of_two_recordings_of_the_same_name_are_refused(tmp_path, replayed):
    twin = shutil.copytree(replayed / "dark.drive", tmp_path / "bright")
    recordings = [replayed / "bright", twin, replayed / "described/bright"]
    with pytest.raises(InvalidRequest, match="it is called as 2 of these"):
        export(tmp_path, *recordings, logged=True, split=WHOLE)
