# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An int4 checkpoint behind the node's service."""

import time

import pytest

from vila_ros.errors import ErrorCode

pytest.importorskip("torch", reason="the torch engine needs torch")

TOPIC = "/front/image_raw"


def test_a_quantised_model_answers_about_a_frame(robot, tmp_path):
    from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
    from vila_ros.quantization.quantise import quantise_folder
    from vila_ros.quantization.samples import drawn_conversations, split_samples

    shape = Shape(128, 1, 4, 2, 128, 512, 2048, 32, 3, 4, 64, 56)
    source = write_random_checkpoint(tmp_path / "float", shape, dtype="bfloat16")
    samples = split_samples(drawn_conversations(5), "drawings")
    quantise_folder(source, tmp_path / "int4", samples, progress=lambda line: None)
    robot.start_node(
        {
            "engine.runtime": "torch",
            "engine.model": str(tmp_path / "int4"),
            "engine.options": '{"device": "cpu", "threads": 1}',
            "cameras": ["front"],
            "camera.front.topic": TOPIC,
        }
    )
    robot.activate()
    camera = robot.start_camera()
    camera.do("advertise", topic=TOPIC)
    robot.link(camera, TOPIC, "front")
    camera.do("image", topic=TOPIC, stamp_ns=time.time_ns())
    robot.wait_for_frames("front", 1, "frames held")

    outcome = robot.query(prompt="What is this?", max_tokens=8)

    assert outcome.error_code == ErrorCode.NONE
    assert outcome.stats.image_tokens > 0
    assert outcome.stats.completion_tokens > 0
