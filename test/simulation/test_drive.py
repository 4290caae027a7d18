# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated drive is a whole recording in which the announced events happen."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("pybullet")

from vila_ros.bags.drive_recording import CAMERA_TOPIC, SPEED_TOPIC, START_NS, TRUTH_TOPIC
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.simulation.drive import ask_about, drive, event_windows, write_drive
from vila_ros.simulation.truth import motion

SMALL = {"size": (96, 72), "rate": 2.0}


@pytest.fixture(scope="module")
def truths():
    return [truth for _, truth in drive(seed=3, seconds=34.0, **SMALL)]


def within(truths, window):
    begin, end = (START_NS + seconds * 1e9 for seconds in window)
    return [truth for truth in truths if begin <= truth.stamp_ns <= end + 5e8]


def test_something_happens_at_every_stop(truths):
    windows = event_windows(34.0)
    assert len(windows) == 5
    for window in windows:
        frames = within(truths, window)
        in_all = set.intersection(*({t.number for t in each.things} for each in frames))
        done = {motion(frames, number) for number in in_all}
        assert done - {None, "stays"}, window
        assert ask_about(frames, "motion").answer.startswith("it ")


def test_the_robot_drives_and_stops(truths):
    assert {truth.speed for truth in truths} == {0.0, 3.6}


def test_the_recording_holds_pictures_speed_and_truth(tmp_path):
    told = write_drive(tmp_path / "drive", seed=4, seconds=1.5, **SMALL)
    recording = open_recording(tmp_path / "drive")
    assert {topic: info.count for topic, info in recording.topics.items()} == {
        CAMERA_TOPIC: 3, SPEED_TOPIC: 3, TRUTH_TOPIC: 3,
    }  # fmt: skip
    for message, truth in zip(recording.messages({TRUTH_TOPIC}), told, strict=True):
        said = json.loads(deserialize(message).data)
        assert message.stamp_ns == said["stamp_ns"] == truth.stamp_ns
        assert [thing["kind"] for thing in said["things"]] == [t.kind for t in truth.things]
