# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A drawn drive is a whole recording whose ground truth fits its pictures."""

from __future__ import annotations

import json
from itertools import pairwise

import cv2
import numpy as np
import pytest

from vila_ros.bags.drive_recording import CAMERA_TOPIC, SPEED_TOPIC, START_NS, TRUTH_TOPIC
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.bags.synthetic_drive import HEIGHT, WIDTH, drive, write_drive

KINDS = {"car", "cone", "person", "stop sign", "speed limit sign"}


@pytest.fixture(scope="module")
def frames():
    return list(drive(seconds=8.0))


def test_the_same_seed_draws_the_same_drive(frames):
    again = list(drive(seconds=8.0))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(frames, again, strict=True))
    assert [truth for _, truth in frames] == [truth for _, truth in again]
    other = next(drive(seconds=1.0, seed=1))[0]
    assert not np.array_equal(frames[0][0], other)


def test_every_kind_of_thing_is_seen_within_the_picture(frames):
    seen = [thing for _, truth in frames for thing in truth.objects]
    assert {thing.kind for thing in seen} == KINDS
    for thing in seen:
        x, y, width, height = thing.box
        assert 0 <= x < x + width <= WIDTH
        assert 0 <= y < y + height <= HEIGHT


def test_things_come_nearer_at_the_speed_that_is_recorded(frames):
    """A sign stands still, so its distance shrinks by what was driven; nearer means larger."""
    for kind in ("speed limit sign", "stop sign", "person", "cone"):
        tracks = [
            (before, after, truth.speed)
            for (_, truth), (_, next_truth) in pairwise(frames)
            for before in truth.objects
            for after in next_truth.objects
            if before.kind == after.kind == kind
            and abs(before.distance - after.distance) < 2
            and before.side == after.side
        ]
        assert tracks
        for before, after, speed in tracks:
            assert before.distance - after.distance == pytest.approx(speed / 10, abs=0.02)
            assert after.box[3] >= before.box[3] - 1


def test_a_box_holds_the_things_colour(frames):
    """The nearest cone is orange and the nearest car red, inside their boxes and not above them."""
    checked = 0
    for picture, truth in frames:
        for thing in truth.objects:
            x, y, width, height = thing.box
            if thing.kind != "cone" or height < 15:
                continue
            hue = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
            orange = (abs(hue[..., 0].astype(int) - 13) < 6) & (hue[..., 1] > 200)
            assert orange[y : y + height, x : x + width].mean() > 0.2
            assert orange[y - height : y - 2, x : x + width].mean() < 0.05
            checked += 1
    assert checked > 10


def test_what_nearer_things_hide_is_not_in_the_ground_truth(frames):
    for _, truth in frames:
        cars = [thing.box for thing in truth.objects if thing.kind == "car"]
        for thing in truth.objects:
            x, y, width, height = thing.box
            for cx, cy, cw, ch in cars:
                hidden = cx <= x and cy <= y and x + width <= cx + cw and y + height <= cy + ch
                assert not hidden or thing.box == (cx, cy, cw, ch)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_written_drive_has_pictures_speed_and_truth_at_the_same_stamps(tmp_path, storage):
    truths = write_drive(tmp_path / "drive", seconds=2.0, rate=10.0, storage=storage)
    recording = open_recording(tmp_path / "drive")
    stamps = [START_NS + i * 100_000_000 for i in range(20)]
    for topic in (CAMERA_TOPIC, SPEED_TOPIC, TRUTH_TOPIC):
        assert [message.stamp_ns for message in recording.messages([topic])] == stamps
    for message, truth in zip(recording.messages([CAMERA_TOPIC]), truths, strict=True):
        image = deserialize(message)
        assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == truth.stamp_ns
        assert cv2.imdecode(image.data, cv2.IMREAD_COLOR).shape == (HEIGHT, WIDTH, 3)
    said = [json.loads(deserialize(message).data) for message in recording.messages([TRUTH_TOPIC])]
    assert [each["stamp_ns"] for each in said] == stamps
    assert said[5]["objects"][0]["kind"] == truths[5].objects[0].kind
