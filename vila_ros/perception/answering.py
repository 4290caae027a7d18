# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One question whose turn has come: from its frames to the end of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from vila_ros.engine.interface import (
    EncodedImages,
    Engine,
    GenerationRequest,
    Message,
    Stage,
    TextChunk,
)
from vila_ros.engine.json_schema import validate_json
from vila_ros.errors import EngineFailed, InvalidOutput
from vila_ros.perception.decoding import Decoder
from vila_ros.perception.inquiry import Inquiry, Task
from vila_ros.perception.prompt import write_messages
from vila_ros.perception.types import Question

Tell = Callable[[Inquiry], None]


def answer(inquiry: Inquiry, engine: Engine, decoder: Decoder, tell: Tell) -> str:
    """Decode, ask the engine and follow it, noting everything in the inquiry.

    tell: called after each note. Returns the answer as JSON where that was asked for, else nothing;
    also when the inquiry has ended meanwhile, which is looked at between any two steps.
    Raises InvalidImage, the engine's errors, EngineFailed (it stopped without an end) and
    InvalidOutput.
    """
    task = inquiry.task
    if task is None:  # it has ended
        return ""
    inquiry.enter(Stage.DECODING)
    tell(inquiry)
    question = inquiry.question
    capabilities = engine.capabilities
    wanted = None if capabilities is None else capabilities.encoded_images
    request = GenerationRequest(
        request_id=inquiry.request_id,
        messages=_decode(inquiry, task, decoder, wanted),
        max_tokens=task.checked.max_tokens,
        temperature=question.temperature,
        seed=question.seed,
        json_schema=question.json_schema or None,
        choices=question.choices,
        deadline=inquiry.deadline,
    )
    if inquiry.ended:
        return ""
    inquiry.hand_over(engine.capabilities)
    inquiry.enter(Stage.ENCODING)
    tell(inquiry)
    stream = engine.generate(request)
    try:
        finished = _follow(inquiry, stream, tell)
    finally:
        close = getattr(stream, "close", None)  # generators have it, plain iterators need not
        if close is not None:
            close()
    if inquiry.ended:
        return ""
    if not finished:
        raise EngineFailed("The engine's answer stopped without an end.")
    return _checked(question, inquiry.text)


def _decode(
    inquiry: Inquiry, task: Task, decoder: Decoder, wanted: EncodedImages | None
) -> tuple[Message, ...]:
    """The prompt, with all that it shows as the engine wants it."""
    started = time.monotonic()
    question, frames = inquiry.question, task.frames.result()
    shown = decoder.frames(frames, wanted)
    messages = write_messages(
        question.prompt,
        system_prompt=task.checked.system_prompt,
        frames=list(zip(frames, shown, strict=True)),
        images=decoder.files(question.images, wanted),
        examples=[(each, decoder.files(each.images, wanted)) for each in question.examples],
    )
    inquiry.show(frames, time.monotonic() - started)
    return messages


def _follow(inquiry: Inquiry, stream: Iterator[TextChunk], tell: Tell) -> bool:
    """Note what the engine says until it or the inquiry ends; whether it came to its end."""
    for chunk in stream:
        if inquiry.ended:
            return False
        inquiry.add(chunk)
        if chunk.finish_reason is not None:
            return True
        tell(inquiry)
    return False


def _checked(question: Question, text: str) -> str:
    """The text again where it is JSON that was asked for, else nothing. Raises InvalidOutput."""
    if question.json_schema:
        validate_json(text, question.json_schema)
        return text
    if question.choices and text not in question.choices:
        raise InvalidOutput(
            f"The answer {text[:200]!r} is none of the {len(question.choices)} choices; raise "
            "max_tokens if it was cut."
        )
    return ""
