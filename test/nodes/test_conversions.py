# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages <-> the types of perception."""

import pytest

pytest.importorskip("vila_ros.msg", reason="needs the built interfaces: make setup")

from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage

from vila_ros.action import Ask
from vila_ros.engine.interface import GenerationStats, Stage
from vila_ros.errors import (
    DeadlineExceeded,
    ErrorCode,
    InvalidImage,
    InvalidRequest,
)
from vila_ros.msg import FewShotExample
from vila_ros.nodes import conversions
from vila_ros.nodes.conversions import (
    clean,
    fill_outcome,
    nanoseconds,
    question_from,
    scene_description,
    time_from,
)
from vila_ros.perception.types import Answer, FrameReference, Question, Sampling
from vila_ros.srv import Query

STAMP = 1_700_000_000_123_456_789
FRAMES = (FrameReference("front", STAMP, "f"), FrameReference("rear", STAMP - 5, "r"))


def constants(kind):
    names = [name for name in dir(type(kind)) if name.isupper() and not name.startswith("_")]
    return {name: getattr(kind, name) for name in names}


@pytest.mark.parametrize("kind", [Ask.Result, Query.Response])
def test_interfaces_have_the_error_codes(kind):
    assert constants(kind) == {each.name: each.value for each in ErrorCode}


@pytest.mark.parametrize("kind", [Ask.Goal, Query.Request])
def test_interfaces_have_the_sampling_modes_and_priorities(kind):
    found = constants(kind)
    priorities = {name: found.pop(name) for name in list(found) if name.startswith("PRIORITY_")}
    assert found == {f"SAMPLING_{each.name}": each.value for each in Sampling}
    assert priorities == {"PRIORITY_LOW": -10, "PRIORITY_NORMAL": 0, "PRIORITY_HIGH": 10}


def test_feedback_has_the_stages():
    assert constants(Ask.Feedback) == {each.name: each.value for each in Stage}


def test_action_and_service_have_the_same_fields():
    assert Ask.Goal.get_fields_and_field_types() == Query.Request.get_fields_and_field_types()
    assert Ask.Result.get_fields_and_field_types() == Query.Response.get_fields_and_field_types()


@pytest.mark.parametrize("kind", [Ask.Goal, Query.Request])
def test_every_field_of_a_request_reaches_the_question(kind):
    picture = CompressedImage(format="png", data=b"png")
    question = question_from(
        kind(
            prompt="p", system_prompt="s", cameras=["front"], window=1.5,
            start=Time(sec=1, nanosec=2), end=Time(sec=3, nanosec=4), max_frames=5, sampling=3,
            images=[picture],
            examples=[FewShotExample(images=[picture], question="q", answer="a")],
            json_schema="{}", choices=["a", "b"], max_tokens=6, temperature=0.5, seed=7,
            deadline=8.0, priority=-9,
        )
    )  # fmt: skip
    [example] = question.examples
    assert (example.images, example.question, example.answer) == ((b"png",), "q", "a")
    found = {name: getattr(question, name) for name in Question.__dataclass_fields__}
    del found["examples"]
    assert found == {
        "prompt": "p", "system_prompt": "s", "cameras": ("front",), "window": 1.5,
        "start_ns": 1_000_000_002, "end_ns": 3_000_000_004, "max_frames": 5,
        "sampling": Sampling.KEYFRAMES, "images": (b"png",), "json_schema": "{}",
        "choices": ("a", "b"), "max_tokens": 6, "temperature": 0.5, "seed": 7, "deadline": 8.0,
        "priority": -9,
    }  # fmt: skip


def test_too_many_or_too_large_images_are_refused_before_they_are_copied(monkeypatch):
    with pytest.raises(InvalidRequest, match="257 images"):
        question_from(Ask.Goal(prompt="x", images=[CompressedImage()] * 257))
    monkeypatch.setattr(conversions, "MAX_IMAGE_BYTES", 3)
    with pytest.raises(InvalidImage, match=r"images\[0\] has 4 bytes; at most 3"):
        question_from(Ask.Goal(prompt="x", images=[CompressedImage(data=b"1234")]))


@pytest.mark.parametrize("stamp", [Time(sec=-1), Time(sec=1, nanosec=10**9)])
def test_times_that_are_none_are_refused(stamp):
    with pytest.raises(InvalidRequest, match="start is"):
        nanoseconds(stamp, "start")


def test_times_go_there_and_back():
    assert nanoseconds(time_from(STAMP)) == STAMP


@pytest.mark.parametrize("kind", [Ask.Result, Query.Response])
def test_an_answer_fills_a_result(kind):
    answer = Answer(
        text="yes", json='"yes"', choice_probabilities=(0.25, 0.75), frames=FRAMES, model="m",
        runtime="r", queue_time=0.5, decode_time=0.25, time_to_first_token=1.0, total_time=2.0,
        stats=GenerationStats(vision_time=4.0, prompt_tokens=10, image_tokens=9, cached_tokens=8,
                              completion_tokens=7, tokens_per_second=6.0, images_encoded=5,
                              images_cached=4),
    )  # fmt: skip
    result = fill_outcome(kind(), answer)
    assert (result.error_code, result.error_message) == (0, "")
    assert (result.text, result.json) == ("yes", '"yes"')
    assert list(result.choice_probabilities) == [0.25, 0.75]
    assert [(f.camera, nanoseconds(f.stamp), f.frame_id) for f in result.frames] == [
        ("front", STAMP, "f"),
        ("rear", STAMP - 5, "r"),
    ]
    assert nanoseconds(result.window_start) == STAMP - 5
    assert nanoseconds(result.window_end) == STAMP
    stats = result.stats
    assert (stats.model, stats.runtime) == ("m", "r")
    assert (stats.queue_time, stats.decode_time, stats.vision_time) == (0.5, 0.25, 4.0)
    assert (stats.time_to_first_token, stats.total_time) == (1.0, 2.0)
    assert (stats.prompt_tokens, stats.image_tokens, stats.cached_tokens) == (10, 9, 8)
    assert (stats.completion_tokens, stats.tokens_per_second) == (7, 6.0)
    assert (stats.images_encoded, stats.images_cached) == (5, 4)


def test_an_error_fills_a_result_with_what_was_generated():
    result = fill_outcome(Ask.Result(), Answer(text="so f", error=DeadlineExceeded("too slow")))
    assert result.error_code == ErrorCode.DEADLINE_EXCEEDED
    assert (result.error_message, result.text) == ("too slow", "so f")


def test_a_description_has_the_newest_frames_header_and_frames_oldest_first():
    message = scene_description(Answer(text="a hall", frames=FRAMES), "what")
    assert nanoseconds(message.header.stamp) == STAMP
    assert message.header.frame_id == "f"
    assert [each.camera for each in message.frames] == ["rear", "front"]
    assert (message.prompt, message.text) == ("what", "a hall")


def test_text_is_made_fit_for_ros_strings():
    assert clean("a\0b") == "a\N{REPLACEMENT CHARACTER}b"
    assert clean("a\ud800b") == "a?b"
    assert clean("ä🙂") == "ä🙂"
