# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages <-> the types of perception.

The goal of Ask and the request of Query have the same fields, as have their results, so each
function here takes either (a test holds the fields equal). Sizes are bounded before anything is
copied; what else a question may say is judged by the Perceiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from builtin_interfaces.msg import Time

from vila_ros.errors import ErrorCode, InvalidImage, InvalidRequest
from vila_ros.msg import FrameRef, InferenceStats, SceneDescription
from vila_ros.perception.types import Answer, Example, FrameReference, Question, Sampling

MAX_IMAGES = 256
MAX_IMAGE_BYTES = 64 * 1024 * 1024

_SECOND = 1_000_000_000
_UINT32_MAX = 2**32 - 1

Outcome = TypeVar("Outcome")


def question_from(request: Any) -> Question:
    """The question of an Ask.Goal or a Query.Request.

    Raises InvalidRequest or InvalidImage for what cannot be said in a Question.
    """
    images = len(request.images) + sum(len(each.images) for each in request.examples)
    if images > MAX_IMAGES:
        raise InvalidRequest(
            f"The request brings {images} images, examples included; at most {MAX_IMAGES}."
        )
    return Question(
        prompt=request.prompt,
        system_prompt=request.system_prompt,
        cameras=tuple(request.cameras),
        window=request.window,
        start_ns=nanoseconds(request.start, "start"),
        end_ns=nanoseconds(request.end, "end"),
        max_frames=request.max_frames,
        sampling=_sampling(request.sampling),
        images=_image_files("images", request.images),
        examples=tuple(
            _example(f"examples[{index}]", each) for index, each in enumerate(request.examples)
        ),
        json_schema=request.json_schema,
        choices=tuple(request.choices),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        seed=request.seed,
        deadline=request.deadline,
        priority=request.priority,
    )


def fill_outcome(outcome: Outcome, answer: Answer) -> Outcome:
    """Write an answer into an Ask.Result or a Query.Response, and return it."""
    message: Any = outcome
    if answer.error is None:
        message.error_code = int(ErrorCode.NONE)
        message.error_message = ""
    else:
        message.error_code = int(answer.error.code)
        message.error_message = clean(answer.error.message)
    message.text = clean(answer.text)
    message.json = clean(answer.json)
    message.choice_probabilities = [float(each) for each in answer.choice_probabilities]
    message.frames = [frame_reference(each) for each in answer.frames]
    start, end = answer.window_ns
    message.window_start = time_from(start)
    message.window_end = time_from(end)
    message.stats = inference_stats(answer)
    return outcome


def scene_description(answer: Answer, prompt: str) -> SceneDescription:
    """The message of an answer without error; it has at least one frame."""
    newest = max(answer.frames, key=lambda frame: frame.stamp_ns)
    oldest_first = sorted(answer.frames, key=lambda frame: frame.stamp_ns)
    start, end = answer.window_ns
    message = SceneDescription(
        window_start=time_from(start),
        window_end=time_from(end),
        frames=[frame_reference(each) for each in oldest_first],
        prompt=clean(prompt),
        text=clean(answer.text),
        json=clean(answer.json),
        stats=inference_stats(answer),
    )
    message.header.stamp = time_from(newest.stamp_ns)
    message.header.frame_id = newest.frame_id
    return message


def inference_stats(answer: Answer) -> InferenceStats:
    """What an answer cost."""
    stats = answer.stats
    return InferenceStats(
        model=clean(answer.model),
        runtime=clean(answer.runtime),
        queue_time=float(answer.queue_time),
        decode_time=float(answer.decode_time),
        vision_time=float(stats.vision_time),
        time_to_first_token=float(answer.time_to_first_token),
        total_time=float(answer.total_time),
        prompt_tokens=_uint32(stats.prompt_tokens),
        image_tokens=_uint32(stats.image_tokens),
        cached_tokens=_uint32(stats.cached_tokens),
        completion_tokens=_uint32(stats.completion_tokens),
        tokens_per_second=float(stats.tokens_per_second),
        images_encoded=_uint32(stats.images_encoded),
        images_cached=_uint32(stats.images_cached),
    )


def frame_reference(frame: FrameReference) -> FrameRef:
    """The message that names a frame."""
    return FrameRef(
        camera=frame.camera, stamp=time_from(frame.stamp_ns), frame_id=clean(frame.frame_id)
    )


def time_from(nanoseconds: int) -> Time:
    """Nanoseconds as a message."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return Time(sec=seconds, nanosec=rest)


def nanoseconds(stamp: Time, name: str = "stamp") -> int:
    """A message's time as nanoseconds. Raises InvalidRequest for times before 1970."""
    if stamp.sec < 0 or stamp.nanosec >= _SECOND:
        raise InvalidRequest(
            f"{name} is {stamp.sec} s and {stamp.nanosec} ns; seconds must not be negative and "
            f"nanoseconds must be below {_SECOND}."
        )
    return stamp.sec * _SECOND + stamp.nanosec


def clean(text: str) -> str:
    """Text that arrives whole: ROS strings end at a NUL and cannot hold lone surrogates."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")


def _example(name: str, message: Any) -> Example:
    return Example(
        images=_image_files(f"{name}.images", message.images),
        question=message.question,
        answer=message.answer,
    )


def _image_files(name: str, messages: Sequence[Any]) -> tuple[bytes, ...]:
    for index, each in enumerate(messages):
        if len(each.data) > MAX_IMAGE_BYTES:
            raise InvalidImage(
                f"{name}[{index}] has {len(each.data)} bytes; at most {MAX_IMAGE_BYTES} are taken."
            )
    return tuple(bytes(each.data) for each in messages)


def _sampling(value: int) -> Sampling:
    try:
        return Sampling(value)
    except ValueError:
        known = ", ".join(f"{each.value} ({each.name.lower()})" for each in Sampling)
        raise InvalidRequest(f"sampling is {value}; it must be one of {known}.") from None


def _uint32(value: int) -> int:
    return max(0, min(int(value), _UINT32_MAX))
