# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration believes no answer: frames, windows and codes are checked, names are made."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from builtin_interfaces.msg import Time

from vila_ros.bags.drive_recording import CAMERA_TOPIC, FRAME_ID, START_NS
from vila_ros.bags.recorded_cameras import recorded_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.errors import ErrorCode
from vila_ros.msg import FrameRef
from vila_ros.nodes.demo.material import Material
from vila_ros.nodes.demo.questions import DemoQuestion, faults
from vila_ros.nodes.demo.record import Record
from vila_ros.nodes.demo.screen import Screen
from vila_ros.srv import Query


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "drive"
    truths = write_drive(path, seconds=1.0)
    recording = open_recording(path)
    frames = {("front", truth.stamp_ns): FRAME_ID for truth in truths}
    cameras = recorded_cameras(recording)
    return Material(recording, cameras, "model", 1.0, frames)


def time(stamp_ns):
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def answer(offsets, frame_id=FRAME_ID, camera="front", **fields):
    """A result that names the frames at these tenths of a second."""
    stamps = [START_NS + offset * 100_000_000 for offset in offsets]
    frames = [FrameRef(camera=camera, stamp=time(stamp), frame_id=frame_id) for stamp in stamps]
    window = {"window_start": time(min(stamps)), "window_end": time(max(stamps))} if stamps else {}
    return Query.Response(**{"frames": frames, **window, **fields})


QUESTION = DemoQuestion("What?", window=0.5, max_frames=3)


@pytest.mark.parametrize("offsets", [[0], [4, 6, 9], [2, 7]])
def test_frames_of_the_recording_within_window_and_budget_are_right(material, offsets):
    assert faults(QUESTION, answer(offsets), material) == []


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (answer([]), "0 frames, where 1 to 3 were asked for"),
        (answer([1, 2, 3, 4]), "4 frames, where 1 to 3"),
        (answer([10]), "is not in the recording"),
        (answer([1], camera="rear"), "the frame rear 1700000000100000000 is not in the recording"),
        (answer([1], frame_id="base"), "has frame_id 'front_optical_frame', not 'base'"),
        (answer([1, 7]), "frames over 0.60 s, more than the window"),
        (answer([1, 2], window_end=time(START_NS)), "is not that of the frames"),
        (answer([1], error_code=300, error_message="gone"), "ENGINE_DOWN instead of NONE: gone"),
        (answer([1], error_code=999), "error code 999 instead of NONE"),
    ],
)  # fmt: skip
def test_everything_else_is_a_fault(material, result, says):
    assert any(says in fault for fault in faults(QUESTION, result, material))


def test_frames_outside_of_an_explicit_window_are_a_fault(material):
    asked = replace(QUESTION, start_ns=START_NS, end_ns=START_NS + 200_000_000)
    assert faults(asked, answer([0, 2]), material) == []
    assert "outside of the window asked for" in faults(asked, answer([0, 3]), material)[0]


def test_forms_and_expected_errors_are_checked(material):
    choice = replace(QUESTION, choices=("yes", "no"))
    assert faults(choice, answer([1], text="yes"), material) == []
    assert (
        "'maybe' is none of the choices" in faults(choice, answer([1], text="maybe"), material)[0]
    )
    form = replace(QUESTION, json_schema="{}")
    assert faults(form, answer([1], json='{"a": 1}'), material) == []
    assert "is no JSON" in faults(form, answer([1], json='{"a": '), material)[0]
    wrong = replace(QUESTION, expected=ErrorCode.UNKNOWN_CAMERA)
    assert faults(wrong, answer([], error_code=101), material) == []
    assert "NONE instead of UNKNOWN_CAMERA" in faults(wrong, answer([1]), material)[0]


def test_what_a_model_says_cannot_drive_the_terminal(material):
    stream = io.StringIO()
    said = answer([1], text="\x1b[31mred\x1b[0m")
    Screen(stream).outcome(Record().add_answer(QUESTION, said, []))
    assert "\x1b" not in stream.getvalue()
    assert f"front    1700000000.100000000  {FRAME_ID}" in stream.getvalue()
    assert material.recording.topics[CAMERA_TOPIC].count == 10
