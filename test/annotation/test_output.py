# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was reviewed, as CODA-LM, as questions and answers, and as Foxglove's annotations."""

import json

import pytest

from test.annotation.conftest import HEIGHT, START_NS, annotation
from vila_ros.annotation.foxglove import DEFINITION, IMAGE_ANNOTATIONS
from vila_ros.annotation.output import write_output
from vila_ros.annotation.store import AnnotationFolder
from vila_ros.annotation.types import InvalidAnnotationFolder
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize, typestore_with
from vila_ros.errors import InvalidRequest
from vila_ros.perception.cdr import read_compressed_image

FIRST, SECOND, THIRD = (f"drive-front-{number:05d}" for number in range(3))
TOPIC = "/front/image_raw/compressed"


@pytest.fixture
def accepted(folder):
    """A folder of which the second was accepted as it was and the third corrected."""
    path = folder()
    store = AnnotationFolder(path)
    store.decide(SECOND, "accept", 0, reviewer="Ada")
    store.decide(THIRD, "accept", 0, annotation("a dog crosses"), "Ben")
    store.decide(FIRST, "reject", 0)
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_coda_lm_is_a_file_an_image(accepted, tmp_path):
    told = write_output(accepted, tmp_path / "out", ("coda_lm",))
    assert told[:2] == ["     2 images", "     2 CODA-LM files"]
    out = tmp_path / "out"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "coda_lm/train_0001.json", "coda_lm/train_0002.json",
        "images/train_0001.jpg", "images/train_0002.jpg", "index.jsonl",
    ]  # fmt: skip
    first = json.loads((out / "coda_lm" / "train_0001.json").read_text())
    assert first == annotation()
    assert first["region_perception"]["1"]["box"] == [10, 12, 20, 10]
    image = (out / "images" / "train_0001.jpg").read_bytes()
    assert image == (accepted / "images" / f"{SECOND}.jpg").read_bytes()
    first, second = lines(out / "index.jsonl")
    assert (first["recording"], first["stamp_ns"]) == ("/data/drive", START_NS + 1_000_000_000)
    assert (first["reviewer"], first["edited"], first["model"]) == ("Ada", False, "tiny")
    assert (second["reviewer"], second["edited"]) == ("Ben", True)
    assert first["reasons"] == ["braked at 4.0 m/s²"]


def test_questions_and_answers_are_a_line_each(accepted, tmp_path):
    write_output(accepted, tmp_path / "out", ("vqa",))
    folder = tmp_path / "out" / "vqa"
    general, other = lines(folder / "general_perception.jsonl")
    assert set(general) == {"question_id", "image", "question", "answer"}
    assert (general["question_id"], general["image"]) == ("train_0001", "images/train_0001.jpg")
    assert general["answer"] == "Vehicles: a red car ahead it may brake\na quiet road"
    assert other["answer"].endswith("a dog crosses")
    region = lines(folder / "region_perception.jsonl")[0]
    assert region["question_id"] == "train_0001_1"
    assert "[10, 12, 20, 10]" in region["question"]
    assert region["answer"] == "car: a car"
    assert lines(folder / "driving_suggestion.jsonl")[0]["answer"] == "slow down"


def test_foxglove_annotations_have_their_images_stamps_and_bring_their_definition(
    accepted, tmp_path
):
    write_output(accepted, tmp_path / "out", ("foxglove",))
    bag = open_recording(tmp_path / "out" / "foxglove" / "drive")
    assert bag.topics[f"{TOPIC}/annotations"].type == IMAGE_ANNOTATIONS
    assert bag.topics[TOPIC].count == 2
    store = typestore_with({IMAGE_ANNOTATIONS: bag.definition(IMAGE_ANNOTATIONS)})
    image, drawn, *_ = sorted(
        bag.messages(), key=lambda message: (message.stamp_ns, len(message.topic))
    )
    view = read_compressed_image(image.data)
    assert bytes(view.data) == (accepted / "images" / f"{SECOND}.jpg").read_bytes()
    assert image.stamp_ns == drawn.stamp_ns == view.stamp_ns == START_NS + 1_000_000_000
    message = deserialize(drawn, store)
    (box,) = message.points
    assert box.type == 2  # LINE_LOOP
    corners = [(point.x, point.y) for point in box.points]
    assert corners == [(10, 12), (30, 12), (30, 22), (10, 22)]
    stamp = box.timestamp.sec * 1_000_000_000 + box.timestamp.nanosec
    assert stamp == view.stamp_ns
    assert [text.text for text in message.texts] == ["1 car", "a quiet road", "slow down"]
    assert all(0 < text.position.y <= HEIGHT for text in message.texts)
    assert "foxglove_msgs/PointsAnnotation[] points" in DEFINITION


def test_drafts_are_taken_only_when_asked_for(folder, tmp_path):
    path = folder()
    with pytest.raises(InvalidRequest, match=r"nothing in .* was accepted yet"):
        write_output(path, tmp_path / "out")
    write_output(path, tmp_path / "out", drafts=True)
    rows = lines(tmp_path / "out" / "index.jsonl")
    assert [row["verdict"] for row in rows] == ["pending"] * 3
    assert {row["reviewer"] for row in rows} == {""}


def test_an_output_that_is_there_is_left_alone(accepted, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(InvalidRequest, match="is there already; name a new folder"):
        write_output(accepted, out)
    assert (out / "mine.txt").read_text() == "mine"


def test_a_full_disk_leaves_nothing(accepted, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(InvalidAnnotationFolder, match="No space left on device"):
        write_output(accepted, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.part").exists()
