# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a question may say, and what it means where it says nothing."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from vila_ros.engine.interface import Capabilities
from vila_ros.engine.json_schema import check_schema
from vila_ros.errors import (
    EmptyWindow,
    InvalidRequest,
    PromptTooLong,
    TooManyFrames,
    UnknownCamera,
)
from vila_ros.perception.image_files import MAX_PIXELS, inspect_file
from vila_ros.perception.sampling import TOLERANCE_NS
from vila_ros.perception.types import Question, RefusedImage, Sampling

MAX_CHARACTERS = 1_000_000
MAX_CHOICES = 1000
MAX_SECONDS = 86_400.0
MAX_TOKENS = 1_000_000
MAX_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class PerceiverDefaults:
    """What holds where a question says nothing, and what a Perceiver may use.

    window: seconds back from the newest frame. max_frames: over all cameras. deadline: seconds from
    acceptance. queue_size: questions that may wait. tolerance: seconds by which frames of two
    cameras may differ and still be of one instant. decoded_bytes: of decoded images kept for the
    next question. max_pixels: of one image.
    """

    window: float = 5.0
    max_frames: int = 8
    sampling: Sampling = Sampling.UNIFORM
    max_tokens: int = 256
    deadline: float = 60.0
    queue_size: int = 16
    system_prompt: str = ""
    tolerance: float = TOLERANCE_NS / 1e9
    decoded_bytes: int = 256 * 1024 * 1024
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        _in_range("window", self.window, 0.0, MAX_SECONDS)
        _in_range("max_frames", self.max_frames, 1, MAX_IMAGES)
        _in_range("max_tokens", self.max_tokens, 1, MAX_TOKENS)
        _in_range("deadline", self.deadline, 0.001, MAX_SECONDS)
        _in_range("queue_size", self.queue_size, 1, 100_000)
        _in_range("tolerance", self.tolerance, 0.0, MAX_SECONDS)
        _in_range("decoded_bytes", self.decoded_bytes, 0, 1 << 50)
        _in_range("max_pixels", self.max_pixels, 1, 1 << 31)
        if self.sampling is Sampling.DEFAULT:
            raise InvalidRequest("The default sampling cannot be DEFAULT; name a mode.")


@dataclass(frozen=True, slots=True, eq=False)
class CheckedQuestion:
    """A question that can be answered, nothing left to defaults.

    cameras: those to look at; empty with Sampling.NONE. window_ns: length of the window.
    start_ns, end_ns: the window, where it was given; else 0, and it ends at the newest frame.
    max_frames: at most, so that all images fit the engine. deadline: seconds from acceptance.
    """

    question: Question
    system_prompt: str
    cameras: tuple[str, ...]
    window_ns: int
    start_ns: int
    end_ns: int
    max_frames: int
    sampling: Sampling
    max_tokens: int
    deadline: float


def check_question(
    question: Question,
    defaults: PerceiverDefaults,
    cameras: Collection[str],
    capabilities: Capabilities | None,
) -> CheckedQuestion:
    """Hold a question against its limits and fill in the defaults.

    cameras: all that there are. capabilities: the engine's; None while they are not known, and then
    what depends on them is left to the engine.
    Raises InvalidRequest, UnknownCamera, EmptyWindow (there is no camera), TooManyFrames,
    PromptTooLong, InvalidSchema or InvalidImage.
    """
    _check_texts(question)
    _check_form(question, capabilities)
    _in_range("deadline", question.deadline, 0.0, MAX_SECONDS, zero="the default")
    _in_range("priority", question.priority, -128, 127)
    sampling = question.sampling
    if sampling is Sampling.DEFAULT:
        sampling = defaults.sampling
    chosen = _check_cameras(question, sampling, cameras)
    start_ns, end_ns = _check_window(question)
    window = question.window or defaults.window
    return CheckedQuestion(
        question=question,
        system_prompt=question.system_prompt or defaults.system_prompt,
        cameras=chosen,
        window_ns=end_ns - start_ns if end_ns else round(window * 1e9),
        start_ns=start_ns,
        end_ns=end_ns,
        max_frames=_check_images(question, defaults, chosen, capabilities),
        sampling=sampling,
        max_tokens=question.max_tokens or defaults.max_tokens,
        deadline=question.deadline or defaults.deadline,
    )


def _check_texts(question: Question) -> None:
    if not question.prompt.strip():
        raise InvalidRequest("The prompt is empty; write what to ask.")
    for index, example in enumerate(question.examples, start=1):
        if not example.question.strip() or not example.answer.strip():
            raise InvalidRequest(f"Example {index} needs both a question and an answer.")
    texts = [question.prompt, question.system_prompt, *question.choices]
    texts += [text for each in question.examples for text in (each.question, each.answer)]
    characters = sum(map(len, texts))
    if characters > MAX_CHARACTERS:
        raise PromptTooLong(
            f"The question's texts have {characters} characters; at most {MAX_CHARACTERS}. "
            "Shorten the prompt or the examples."
        )
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"A text of the question has {error.object[error.start]!a}, half a character; "
            "send UTF-8."
        ) from None


def _check_form(question: Question, capabilities: Capabilities | None) -> None:
    if question.json_schema and question.choices:
        raise InvalidRequest("Both json_schema and choices are given; give one of them.")
    if question.json_schema:
        check_schema(question.json_schema)
    _in_range("The number of choices", len(question.choices), 0, MAX_CHOICES)
    if not all(choice.strip() for choice in question.choices):
        raise InvalidRequest("A choice is empty; every choice needs a text.")
    twice = [choice for choice in question.choices if question.choices.count(choice) > 1]
    if twice:
        raise InvalidRequest(f"The choice {twice[0]!r} is given twice; choices must differ.")
    _in_range("max_tokens", question.max_tokens, 0, MAX_TOKENS, zero="the default")
    if capabilities is not None and question.max_tokens > capabilities.context_length:
        raise InvalidRequest(
            f"max_tokens is {question.max_tokens}; prompt and answer of {capabilities.model} share "
            f"{capabilities.context_length} tokens. Ask for fewer."
        )
    _in_range("temperature", question.temperature, 0.0, 2.0, zero="greedy")
    _in_range("seed", question.seed, 0, (1 << 64) - 1)


def _check_cameras(
    question: Question, sampling: Sampling, known: Collection[str]
) -> tuple[str, ...]:
    if sampling is Sampling.NONE:
        if question.cameras:
            raise InvalidRequest(
                f"Cameras are named ({', '.join(question.cameras)}), but sampling is NONE; name "
                "none, or choose another sampling."
            )
        return ()
    for index, camera in enumerate(question.cameras):
        if camera not in known:
            names = ", ".join(known) or "none"
            raise UnknownCamera(f"There is no camera {camera!r}; there are: {names}.")
        if camera in question.cameras[:index]:
            raise InvalidRequest(f"The camera {camera!r} is named twice; name it once.")
    if not known:
        raise EmptyWindow("There is no camera; set sampling to NONE to ask without frames.")
    return question.cameras or tuple(known)


def _check_window(question: Question) -> tuple[int, int]:
    """Start and end of an explicit window; zeros without one."""
    _in_range("window", question.window, 0.0, MAX_SECONDS, zero="the default")
    if not question.end_ns:
        if question.start_ns:
            raise InvalidRequest(
                f"start is {question.start_ns / 1e9:.3f} s but end is zero; give both, or window."
            )
        return 0, 0
    if not 0 <= question.start_ns <= question.end_ns:
        raise InvalidRequest(
            f"The window starts at {question.start_ns / 1e9:.3f} s and ends at "
            f"{question.end_ns / 1e9:.3f} s; it must not end before it starts, nor start before 0."
        )
    return question.start_ns, question.end_ns


def _check_images(
    question: Question,
    defaults: PerceiverDefaults,
    cameras: tuple[str, ...],
    capabilities: Capabilities | None,
) -> int:
    """The budget of frames."""
    _in_range("max_frames", question.max_frames, 0, MAX_IMAGES, zero="the default")
    files = [*question.images, *(image for each in question.examples for image in each.images)]
    most = MAX_IMAGES if capabilities is None else capabilities.max_images
    wanted = question.max_frames if cameras else 0
    if wanted + len(files) > most:
        raise TooManyFrames(
            f"max_frames {wanted} and {len(files)} images given make {wanted + len(files)}; "
            f"{'the engine' if capabilities is None else capabilities.model} takes at most {most}. "
            "Ask for fewer frames or give fewer images."
        )
    for index, data in enumerate(files, start=1):
        try:
            inspect_file(data, defaults.max_pixels)
        except RefusedImage as error:
            raise RefusedImage(error.reason, f"Image {index} of {len(files)}: {error}") from None
    if not cameras:
        return 0
    budget = wanted or min(defaults.max_frames, most - len(files))
    if budget < len(cameras):
        raise (TooManyFrames if most - len(files) < len(cameras) else InvalidRequest)(
            f"The budget is {budget} frames for {len(cameras)} cameras ({', '.join(cameras)}), "
            f"one of each at least; at most {most} images fit. Name fewer cameras, or raise "
            "max_frames."
        )
    return budget


def _in_range(
    name: str, value: float, least: float, most: float, *, zero: str | None = None
) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        meaning = f" (0: {zero})" if zero else ""
        raise InvalidRequest(f"{name} is {value}; it must be from {least} to {most}{meaning}.")
