# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of images is a recording whose messages hold the files' bytes unchanged."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from test.bags.conftest import START_NS, jpeg
from vila_ros.bags.image_folder import MAX_IMAGE_BYTES
from vila_ros.bags.recorded_cameras import recorded_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.errors import InvalidRecording

TOPIC = "/camera/image_raw/compressed"


def test_files_are_messages_in_the_order_people_count(tmp_path):
    for number in (1, 2, 10, 9):
        (tmp_path / f"frame_{number}.jpg").write_bytes(jpeg(number))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._frame_1.jpg").write_bytes(b"what macOS leaves in archives")
    recording = open_recording(tmp_path)
    messages = list(recording.messages())
    images = [deserialize(message) for message in messages]
    assert [bytes(image.data) for image in images] == [jpeg(number) for number in (1, 2, 9, 10)]
    assert {image.format for image in images} == {"jpeg"}
    assert recording.topics[TOPIC].count == 4


def test_without_times_the_images_come_at_a_fixed_rate_and_it_is_said(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(
            cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
        )
    recording = open_recording(tmp_path)
    stamps = [message.stamp_ns for message in recording.messages()]
    assert stamps == [1_000_000_000 + i * 100_000_000 for i in range(4)]
    image = deserialize(next(recording.messages()))
    assert (image.header.stamp.sec, image.header.frame_id, image.format) == (1, "camera", "png")
    assert "given 10 a second" in recording.warnings[0]
    faster = open_recording(tmp_path, frame_rate=4)
    assert faster.end_ns - faster.start_ns == 750_000_000
    assert [m.stamp_ns for m in faster.messages(start_ns=1_300_000_000)] == [
        1_500_000_000,
        1_750_000_000,
    ]


def test_names_that_are_times_are_the_stamps(tmp_path):
    stamps = [START_NS + offset for offset in (0, 33_000_000, 70_000_000)]
    for stamp in stamps:
        (tmp_path / f"{stamp}.jpg").write_bytes(jpeg())
    recording = open_recording(tmp_path)
    assert [message.stamp_ns for message in recording.messages()] == stamps
    assert deserialize(next(recording.messages())).header.stamp.nanosec == stamps[0] % 10**9
    assert recording.warnings == []


@pytest.mark.parametrize(
    ("name", "is_stamp"),
    [
        ("2147483647999999999", True),
        ("2147483648000000000", False),
        ("4000000000000000000", False),
        ("0700000000000000000", False),
    ],
)
def test_a_name_beyond_what_a_stamp_holds_is_no_time(tmp_path, name, is_stamp):
    (tmp_path / f"{name}.jpg").write_bytes(jpeg())
    recording = open_recording(tmp_path)
    (message,) = recording.messages()
    assert message.stamp_ns == (int(name) if is_stamp else 1_000_000_000)
    assert any("have no times" in warning for warning in recording.warnings) != is_stamp


def test_subfolders_are_cameras_in_one_time_order(tmp_path):
    for camera in ("front left", "2"):
        (tmp_path / camera).mkdir()
        for number in range(3):
            (tmp_path / camera / f"{number}.jpg").write_bytes(jpeg(number))
    recording = open_recording(tmp_path)
    topics = {"/front_left/image_raw/compressed", "/_2/image_raw/compressed"}
    assert set(recording.topics) == topics
    messages = list(recording.messages())
    assert [m.stamp_ns for m in messages] == sorted(m.stamp_ns for m in messages)
    assert {message.topic for message in messages[:2]} == topics


@pytest.mark.parametrize(
    ("folders", "topics"),
    [
        (("前", "後"), ("/_", "/__2")),
        (("cam-0", "cam_0", "cam_0_2"), ("/cam_0", "/cam_0_2", "/cam_0_2_2")),
    ],
)
def test_cameras_whose_names_a_topic_cannot_tell_apart_are_numbered(tmp_path, folders, topics):
    for number, camera in enumerate(folders):
        (tmp_path / camera).mkdir()
        (tmp_path / camera / "1.jpg").write_bytes(jpeg(number))
    recording = open_recording(tmp_path)
    assert set(recording.topics) == {f"{topic}/image_raw/compressed" for topic in topics}
    images = [deserialize(message) for message in recording.messages()]
    assert {image.header.frame_id: bytes(image.data) for image in images} == {
        camera: jpeg(number) for number, camera in enumerate(folders)
    }
    assert len(recorded_cameras(recording)) == len(folders)


def test_a_file_that_is_no_image_is_skipped_and_named(tmp_path):
    (tmp_path / "1.jpg").write_bytes(jpeg())
    (tmp_path / "2.jpg").write_bytes(b"GIF89a")
    (tmp_path / "3.jpg").write_bytes(b"")
    with (tmp_path / "4.jpg").open("wb") as large:
        large.write(jpeg())
        large.truncate(MAX_IMAGE_BYTES + 1)
    recording = open_recording(tmp_path)
    assert len(list(recording.messages())) == 1
    assert "2.jpg is skipped: neither JPEG nor PNG." in recording.warnings
    assert "3.jpg is skipped: neither JPEG nor PNG." in recording.warnings
    assert any("4.jpg is skipped: more than" in warning for warning in recording.warnings)


@pytest.mark.parametrize("rate", [0, -1, 1e9, float("nan")])
def test_a_frame_rate_must_make_sense(tmp_path, rate):
    with pytest.raises(InvalidRecording, match="frame rate"):
        open_recording(tmp_path, frame_rate=rate)
