# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Descriptions in a recording: our message as the node publishes it, and types viewers know."""

from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.highlevel import AnyReader

from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize, typestore_with
from vila_ros.bags.vila_messages import (
    DEFINITION,
    DESCRIPTION_TOPIC,
    LOG_TOPIC,
    MARKER_TOPIC,
    SCENE_DESCRIPTION,
    TEXT_TOPIC,
    DescriptionWriter,
    vila_types,
)
from vila_ros.bags.writer import BagWriter
from vila_ros.engine.interface import GenerationStats
from vila_ros.perception.types import Answer, FrameReference

ROOT = Path(__file__).resolve().parent.parent.parent
FRAMES = (
    FrameReference("front", 12_500_000_000, "front_optical_frame"),
    FrameReference("front", 11_000_000_000, "front_optical_frame"),
)
ANSWER = Answer(
    text="A road.\nTwo cars \0 and a lone \ud800.",
    frames=FRAMES,
    model="vila",
    runtime="torch",
    total_time=3.0,
    stats=GenerationStats(prompt_tokens=200, image_tokens=196, completion_tokens=9),
)


@pytest.fixture
def recording(tmp_path):
    with BagWriter(tmp_path / "out") as writer:
        DescriptionWriter(writer).write(ANSWER, "What is there?", 12_600_000_000)
    return open_recording(tmp_path / "out")


def test_the_definition_is_that_of_the_interface_files():
    for name in ("SceneDescription", "FrameRef", "InferenceStats"):
        lines = (ROOT / "msg" / f"{name}.msg").read_text().splitlines()
        fields = [" ".join(line.partition("#")[0].split()) for line in lines]
        assert "\n".join(field for field in fields if field) in DEFINITION


def test_a_description_comes_back_by_the_definition_the_recording_carries(recording):
    (message,) = recording.messages([DESCRIPTION_TOPIC])
    assert message.stamp_ns == 12_600_000_000
    store = typestore_with({SCENE_DESCRIPTION: recording.definition(SCENE_DESCRIPTION)})
    said = deserialize(message, store)
    assert (said.header.stamp.sec, said.header.stamp.nanosec) == (12, 500_000_000)
    assert said.header.frame_id == "front_optical_frame"
    assert [frame.stamp.sec for frame in said.frames] == [11, 12]
    assert said.text == "A road.\nTwo cars \ufffd and a lone ?."
    assert (said.prompt, said.stats.model, said.stats.prompt_tokens) == (
        "What is there?",
        "vila",
        200,
    )
    # What differs from machine to machine is left out.
    assert said.stats.total_time == 0.0


def test_viewers_that_do_not_know_us_show_the_text(recording):
    said = {each.topic: deserialize(each, vila_types()) for each in recording.messages()}
    assert said[TEXT_TOPIC].data == said[DESCRIPTION_TOPIC].text
    assert said[LOG_TOPIC].msg == said[TEXT_TOPIC].data
    assert (said[LOG_TOPIC].stamp.sec, said[LOG_TOPIC].level) == (12, 20)
    marker = said[MARKER_TOPIC]
    assert (marker.type, marker.text) == (9, said[TEXT_TOPIC].data)
    assert marker.header.frame_id == "front_optical_frame"
    assert {topic.type.split("/")[0] for topic in recording.topics.values()} == {
        "std_msgs", "rcl_interfaces", "visualization_msgs", "vila_ros",
    }  # fmt: skip


def test_another_reader_reads_it(recording):
    with AnyReader([recording.path]) as reader:
        kinds = {}
        for connection, _, data in reader.messages():
            kinds[connection.topic] = reader.deserialize(data, connection.msgtype)
    assert kinds[DESCRIPTION_TOPIC].frames[1].camera == "front"


def test_ros_reads_the_same_bytes(recording):
    pytest.importorskip("rclpy")
    from rclpy.serialization import deserialize_message

    messages = pytest.importorskip("vila_ros.msg")
    (message,) = recording.messages([DESCRIPTION_TOPIC])
    said = deserialize_message(message.data, messages.SceneDescription)
    assert said.header.stamp.sec == 12
    assert said.frames[0].frame_id == "front_optical_frame"
    assert said.stats.completion_tokens == 9
