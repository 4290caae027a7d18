# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a question may say: the value, the limit and the fix in every refusal."""

import math
from dataclasses import replace

import pytest

from test.perception.messages import jpeg, plain, png, scene
from vila_ros.engine.interface import Capabilities
from vila_ros.errors import (
    EmptyWindow,
    InvalidImage,
    InvalidRequest,
    InvalidSchema,
    PromptTooLong,
    TooManyFrames,
    UnknownCamera,
)
from vila_ros.perception.questions import PerceiverDefaults, check_question
from vila_ros.perception.types import Example, Question, Sampling

SECOND = 1_000_000_000
DEFAULTS = PerceiverDefaults()
ENGINE = Capabilities(
    "vila-test", "echo", "cpu", "none", max_images=10, tokens_per_image=16, context_length=2048
)
CAMERAS = ("front", "left")
FILE = jpeg(plain((0, 0, 0)))


def check(question: Question | None = None, *, known=CAMERAS, engine=ENGINE, **fields):
    question = replace(question or Question("What is there?"), **fields)
    return check_question(question, DEFAULTS, known, engine)


def test_what_is_not_said_is_the_default():
    checked = check()
    assert checked.cameras == CAMERAS
    assert (checked.window_ns, checked.start_ns, checked.end_ns) == (5 * SECOND, 0, 0)
    assert (checked.max_frames, checked.max_tokens, checked.deadline) == (8, 256, 60.0)
    assert checked.sampling is Sampling.UNIFORM
    assert checked.system_prompt == ""


def test_what_is_said_holds():
    checked = check(
        system_prompt="Watch.",
        cameras=("left",),
        window=2.5,
        max_frames=3,
        sampling=Sampling.LATEST,
        max_tokens=7,
        deadline=1.5,
    )
    assert (checked.cameras, checked.window_ns, checked.max_frames) == (
        ("left",),
        5 * SECOND // 2,
        3,
    )
    assert (checked.sampling, checked.max_tokens, checked.deadline) == (Sampling.LATEST, 7, 1.5)
    assert checked.system_prompt == "Watch."


def test_an_explicit_window_counts_instead_of_seconds():
    checked = check(window=9.0, start_ns=2 * SECOND, end_ns=5 * SECOND)
    assert (checked.window_ns, checked.start_ns, checked.end_ns) == (
        3 * SECOND,
        2 * SECOND,
        5 * SECOND,
    )


def test_the_default_budget_gives_way_to_the_engine_and_to_images():
    assert check(images=(FILE,) * 6).max_frames == 4
    assert check(engine=replace(ENGINE, max_images=5)).max_frames == 5
    assert check(engine=None).max_frames == 8
    assert check(max_frames=10).max_frames == 10


def test_without_frames_no_camera_is_needed():
    checked = check(sampling=Sampling.NONE, cameras=())
    assert (checked.cameras, checked.max_frames) == ((), 0)
    assert check_question(Question("Q", sampling=Sampling.NONE), DEFAULTS, (), None).cameras == ()


@pytest.mark.parametrize(
    ("fields", "error", "said"),
    [
        ({"prompt": " \n"}, InvalidRequest, "prompt is empty"),
        ({"prompt": "x" * 1_000_001}, PromptTooLong, "1000001 characters; at most 1000000"),
        ({"prompt": "half \ud83d"}, InvalidRequest, "half a character"),
        ({"cameras": ("front", "rear")}, UnknownCamera, "'rear'; there are: front, left"),
        ({"cameras": ("left", "left")}, InvalidRequest, "'left' is named twice"),
        ({"cameras": ("left",), "sampling": Sampling.NONE}, InvalidRequest, "sampling is NONE"),
        ({"window": -1.0}, InvalidRequest, "window is -1.0; it must be from 0.0 to 86400.0"),
        ({"window": math.nan}, InvalidRequest, "window is nan"),
        ({"window": 86401.0}, InvalidRequest, "window is 86401.0"),
        ({"start_ns": SECOND}, InvalidRequest, "start is 1.000 s but end is zero"),
        (
            {"start_ns": 3 * SECOND, "end_ns": 2 * SECOND},
            InvalidRequest,
            "starts at 3.000 s and ends at 2.000 s",
        ),
        ({"start_ns": -1, "end_ns": SECOND}, InvalidRequest, "nor start before 0"),
        ({"max_frames": 11}, TooManyFrames, "max_frames 11 and 0 images given make 11; vila-test"),
        ({"max_frames": -1}, InvalidRequest, "max_frames is -1"),
        ({"max_frames": 1}, InvalidRequest, "budget is 1 frames for 2 cameras"),
        (
            {"max_frames": 8, "images": (FILE,) * 3},
            TooManyFrames,
            "make 11; vila-test takes at most 10",
        ),
        ({"images": (FILE,) * 11}, TooManyFrames, "takes at most 10"),
        ({"images": (FILE,) * 9}, TooManyFrames, "budget is 1 frames for 2 cameras"),
        ({"images": (FILE, b"")}, InvalidImage, "Image 2 of 2: The image file is empty"),
        ({"images": (FILE[:-9],)}, InvalidImage, "Image 1 of 1: The JPEG ends after"),
        ({"examples": (Example((b"x",), "Q", "A"),)}, InvalidImage, "Image 1 of 1"),
        ({"examples": (Example((), "Q", " "),)}, InvalidRequest, "Example 1 needs both"),
        ({"json_schema": "{}", "choices": ("a",)}, InvalidRequest, "Both json_schema and choices"),
        ({"json_schema": "{"}, InvalidSchema, "not JSON"),
        ({"json_schema": '{"type": "thing"}'}, InvalidSchema, "Not a JSON schema"),
        ({"choices": ("yes", "")}, InvalidRequest, "A choice is empty"),
        ({"choices": ("yes", "yes")}, InvalidRequest, "'yes' is given twice"),
        (
            {"choices": tuple(map(str, range(1001)))},
            InvalidRequest,
            "1001; it must be from 0 to 1000",
        ),
        ({"max_tokens": -1}, InvalidRequest, "max_tokens is -1"),
        (
            {"max_tokens": 2049},
            InvalidRequest,
            "max_tokens is 2049; prompt and answer of vila-test",
        ),
        ({"temperature": 2.1}, InvalidRequest, "temperature is 2.1; it must be from 0.0 to 2.0"),
        ({"temperature": math.inf}, InvalidRequest, "temperature is inf"),
        ({"seed": -1}, InvalidRequest, "seed is -1"),
        ({"seed": 1 << 64}, InvalidRequest, "seed is 18446744073709551616"),
        ({"deadline": -0.1}, InvalidRequest, "deadline is -0.1"),
        ({"deadline": math.nan}, InvalidRequest, "deadline is nan"),
        ({"priority": 128}, InvalidRequest, "priority is 128; it must be from -128 to 127"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(fields, error, said):
    with pytest.raises(error) as caught:
        check(**fields)
    assert type(caught.value) is error or error is InvalidImage
    assert said in caught.value.message


def test_without_cameras_only_a_question_without_frames_can_be_asked():
    with pytest.raises(EmptyWindow, match="set sampling to NONE"):
        check(known=())
    with pytest.raises(UnknownCamera, match="there are: none"):
        check_question(Question("Q", cameras=("front",)), DEFAULTS, (), ENGINE)


def test_a_huge_image_is_refused_before_it_is_decoded():
    defaults = replace(DEFAULTS, max_pixels=1000)
    question = Question("Q", images=(png(scene(20, 60)),))
    with pytest.raises(InvalidImage, match=r"60x20, 0\.0012 megapixels; at most 0\.001"):
        check_question(question, defaults, CAMERAS, ENGINE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": -1.0},
        {"max_frames": 0},
        {"max_tokens": 0},
        {"deadline": 0.0},
        {"queue_size": 0},
        {"tolerance": math.nan},
        {"decoded_bytes": -1},
        {"max_pixels": 0},
    ],
)
def test_defaults_without_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InvalidRequest, match=f"^{name} is "):
        PerceiverDefaults(**wrong)


def test_the_default_sampling_names_a_mode():
    with pytest.raises(InvalidRequest, match="name a mode"):
        PerceiverDefaults(sampling=Sampling.DEFAULT)
