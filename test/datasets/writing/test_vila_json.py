# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is exported loads by the rules of upstream's own classes, restated here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from test.datasets.export_data import SPEED_TEMPLATE, export, write_recording
from vila_ros.datasets.split import SplitRule

TEMPLATE = (
    SPEED_TEMPLATE
    + """\
  - {name: clip, media: video, frames: 4, over: 0.6, every: 1, question: "What happens?", answer: b}
  - {name: change, media: images, frames: 2, over: 0.5, every: 1,
     question: "First <image>, then <image>. Faster?", answer: "{speed:.1f}"}
  - name: talk
    every: 1
    system: Answer briefly.
    turns:
      - {question: "Fast?", answer: "{speed|pace}"}
      - {question: "And in numbers?", answer: "{speed:.1f}"}
"""
)
IMAGE, CLASSES = "<image>", {"llava.data.LLaVADataset", "llava.data.LLaVANextDataset"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vila")
    split = SplitRule("time", 0.5, 0.2)
    export(folder, write_recording(folder / "drive"), template=TEMPLATE, name="yard", split=split)
    return folder / "out"


def files_of(row: dict) -> list[str]:
    images = row.get("image", [])
    return [images] if isinstance(images, str) else images


def test_the_registry_names_classes_files_and_media(exported):
    registry = yaml.safe_load((exported / "registry.yaml").read_text())
    assert {name.split("_", 1)[1] for name in registry} == {
        f"{split}_{group}"
        for split in ("train", "val")
        for group in ("image", "interleaved", "video")
    }
    for name, entry in registry.items():
        assert "+" not in name
        assert "*" not in name
        assert entry["_target_"] in CLASSES
        assert Path(entry["data_path"]).is_file()
        assert Path(entry["media_dir"]) == exported.absolute()
        assert entry.get("is_video", False) == name.endswith("video")


def test_every_conversation_alternates_and_its_media_are_there(exported):
    rows = [row for path in exported.glob("*_*.json") for row in json.loads(path.read_text())]
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert all(turn["value"].strip() for turn in turns)
        for file in files_of(row):
            assert (exported / file).is_file()


def test_pictures_that_llava_dataset_puts_first_stand_first(exported):
    """LLaVADataset removes every token and puts all media before the first turn's text."""
    for path in exported.glob("*_image.json"):
        for row in json.loads(path.read_text()):
            values = [turn["value"] for turn in row["conversations"]]
            count = len(files_of(row))
            assert values[0].startswith(f"{IMAGE}\n" * count)
            assert "".join(values).count(IMAGE) == count


def test_tokens_and_pictures_of_llava_next_dataset_are_as_many(exported):
    """LLaVANextDataset takes a list, and replaces the tokens one after the other, in every turn."""
    rows = [
        row for path in exported.glob("*_interleaved.json") for row in json.loads(path.read_text())
    ]
    assert rows
    for row in rows:
        assert isinstance(row["image"], list)
        assert sum(turn["value"].count(IMAGE) for turn in row["conversations"]) == len(row["image"])
        assert row["conversations"][0]["value"] == f"First {IMAGE}, then {IMAGE}. Faster?"


def test_a_clip_is_a_folder_whose_sorted_names_are_its_order(exported):
    """Upstream sorts whatever lies in the folder."""
    rows = [row for path in exported.glob("*_video.json") for row in json.loads(path.read_text())]
    assert rows
    provenance = {row["id"]: row for row in map(json.loads, (exported / "provenance.jsonl").open())}
    for row in rows:
        frames = sorted((exported / row["video"]).iterdir())
        assert [frame.stem for frame in frames] == ["000000", "000001", "000002", "000003"]
        recorded = [exported / media["file"] for media in provenance[row["id"]]["media"]]
        assert [a.read_bytes() for a in frames] == [b.read_bytes() for b in recorded]


def test_a_system_turn_goes_in_front_of_the_first_question(exported):
    rows = json.loads((exported / "train_image.json").read_text())
    talk = next(row for row in rows if "-talk-" in row["id"])
    assert talk["conversations"][0]["value"] == "<image>\nAnswer briefly.\nFast?"
    assert talk["conversations"][2]["value"] == "And in numbers?"
