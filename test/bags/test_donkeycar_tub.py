# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A donkeycar tub, as a folder or in an archive, is a recording of camera, steering, throttle."""

from __future__ import annotations

import json
import struct
import tarfile
from pathlib import Path

import pytest

from test.bags.conftest import jpeg
from vila_ros.bags.donkeycar_tub import open_tub
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.errors import InvalidRecording

CAMERA, ANGLE, THROTTLE = "/camera/image_raw/compressed", "/user/angle", "/user/throttle"
FIRST_MS = 1_600_000_000_000


def make_tub(
    folder: Path, records: int = 12, interval_ms: int = 50, first_ms: int = FIRST_MS, deleted=()
) -> Path:
    """A tub as donkeycar writes it: ten records a catalog."""
    (folder / "images").mkdir(parents=True)
    catalogs: dict[str, list[str]] = {}
    for i in range(records):
        image = f"{i}_cam_image_array_.jpg"
        (folder / "images" / image).write_bytes(jpeg(i))
        row = {
            "_index": i,
            "_session_id": "20-01-01_0",
            "_timestamp_ms": first_ms + i * interval_ms,
            "cam/image_array": image,
            "user/angle": i / 16 - 0.5,
            "user/mode": "user",
            "user/throttle": 0.25,
        }
        catalogs.setdefault(f"catalog_{i // 10}.catalog", []).append(json.dumps(row))
    for name, lines in catalogs.items():
        (folder / name).write_text("\n".join(lines) + "\n")
        (folder / f"{name}_manifest").write_text("{}")
    manifest = [
        ["cam/image_array", "user/angle", "user/throttle", "user/mode"],
        ["image_array", "float", "float", "str"],
        {},
        {"created_at": FIRST_MS / 1000},
        {"paths": list(catalogs), "current_index": records, "deleted_indexes": list(deleted)},
    ]
    (folder / "manifest.json").write_text("\n".join(map(json.dumps, manifest)))
    return folder


def make_archive(path: Path, tub: Path, mode: str = "w:gz") -> Path:
    """An archive with the members in no useful order, and what macOS adds."""
    (tub / "._catalog_0.catalog").write_bytes(b"\0\5\x16\7 what macOS adds")
    with tarfile.open(path, mode) as archive:
        for file in sorted(tub.rglob("*"), reverse=True):
            archive.add(file, f"data/tub/{file.relative_to(tub)}", recursive=False)
    return path


@pytest.mark.parametrize("form", ["folder", "tub.tar.gz", "tub.tgz", "tub.tar"])
def test_images_steering_and_throttle_come_by_index(tmp_path, form):
    path = make_tub(tmp_path / "tub")
    if form != "folder":
        path = make_archive(tmp_path / form, path, "w" if form == "tub.tar" else "w:gz")
    recording = open_recording(path)
    messages = list(recording.messages())
    assert {name: topic.count for name, topic in recording.topics.items()} == {
        CAMERA: 12,
        ANGLE: 12,
        THROTTLE: 12,
    }
    images = [deserialize(message) for message in messages if message.topic == CAMERA]
    assert [bytes(image.data) for image in images] == [jpeg(i) for i in range(12)]
    angles = [deserialize(message).data for message in messages if message.topic == ANGLE]
    assert angles == [i / 16 - 0.5 for i in range(12)]
    assert [m.stamp_ns for m in recording.messages([THROTTLE])] == [
        (FIRST_MS + i * 50) * 1_000_000 for i in range(12)
    ]
    assert recording.warnings == []
    assert (recording.start_ns, recording.end_ns) == (messages[0].stamp_ns, messages[-1].stamp_ns)
    assert len(list(recording.messages(start_ns=messages[9].stamp_ns))) == 27


@pytest.mark.parametrize(
    "times", [{"interval_ms": 3}, {"first_ms": FIRST_MS * 1000}, {"first_ms": -100}]
)
def test_times_at_which_no_car_drives_are_replaced_and_it_is_said(tmp_path, times):
    recording = open_recording(make_tub(tmp_path / "tub", **times))
    stamps = [message.stamp_ns for message in recording.messages([CAMERA])]
    assert stamps == [1_000_000_000 + i * 50_000_000 for i in range(12)]
    header = deserialize(next(recording.messages([CAMERA]))).header
    assert (header.stamp.sec, header.stamp.nanosec) == (1, 0)
    assert "times are not real; its records are given 20 a second" in recording.warnings[0]
    assert open_recording(tmp_path / "tub", frame_rate=10).end_ns == 2_100_000_000


def test_deleted_records_and_damaged_lines_are_left_out(tmp_path):
    tub = make_tub(tmp_path / "tub", deleted=[3, 4])
    with (tub / "catalog_1.catalog").open("a") as catalog:
        catalog.write('{"_index": 12, "cam/image_ar')
    (tub / "images" / "7_cam_image_array_.jpg").unlink()
    (tub / "images" / "8_cam_image_array_.jpg").write_bytes(b"nothing")
    recording = open_recording(tub)
    images = [bytes(deserialize(m).data) for m in recording.messages([CAMERA])]
    assert images == [jpeg(i) for i in (0, 1, 2, 5, 6, 9, 10, 11)]
    assert "catalog_1.catalog, line 3 is skipped: no record of a tub." in recording.warnings
    assert "tub: 1 records are left out, without image." in recording.warnings
    assert any("8_cam_image_array_.jpg is skipped" in warning for warning in recording.warnings)


def test_images_stay_inside_the_tub(tmp_path):
    """A catalog cannot name files elsewhere."""
    tub = make_tub(tmp_path / "tub", records=2)
    (tmp_path / "secret.jpg").write_bytes(jpeg(99))
    lines = (tub / "catalog_0.catalog").read_text()
    (tub / "catalog_0.catalog").write_text(lines.replace("1_cam_image_array_", "../../secret"))
    assert len(list(open_recording(tub).messages([CAMERA]))) == 1


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_an_archive_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path, part):
    tub = make_tub(tmp_path / "tub", records=200)
    archive = tmp_path / "cut.tar.gz"
    with tarfile.open(archive, "w:gz") as out:  # manifest and catalogs come first
        for name in ["manifest.json", *sorted(f.name for f in tub.glob("*.catalog")), "images"]:
            out.add(tub / name, f"tub/{name}")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * part)])
    recording = open_recording(archive)
    images = list(recording.messages([CAMERA]))
    assert len(images) == pytest.approx(200 * part, abs=25)
    assert any("gzip stream is damaged or ends early" in text for text in recording.warnings)
    assert any("records are left out, without image" in text for text in recording.warnings)


def test_what_is_no_tub_is_refused(tmp_path):
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        (tmp_path / "readme").write_text("no tub")
        archive.add(tmp_path / "readme", "readme")
    with pytest.raises(InvalidRecording, match=r"contains no manifest.json"):
        open_recording(tmp_path / "other.tar.gz")
    empty = make_tub(tmp_path / "empty", records=0)
    with pytest.raises(InvalidRecording, match="tub without any record with an image"):
        open_recording(empty)


def test_a_folder_without_a_tub_or_none_is_named(tmp_path):
    with pytest.raises(InvalidRecording, match=r"' is no tub: manifest\.json or images/ is not"):
        open_tub(tmp_path)
    with pytest.raises(InvalidRecording, match="nowhere' does not exist"):
        open_tub(tmp_path / "nowhere")


def test_float_messages_are_standard_ones(tmp_path):
    recording = open_recording(make_tub(tmp_path / "tub", records=2))
    (first, _) = recording.messages([ANGLE])
    assert first.data == b"\0\1\0\0" + struct.pack("<f", -0.5)
