# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small questions that show whether a loaded engine does what its runtime promises."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from vila_ros.engine.interface import (
    Capabilities,
    Engine,
    GenerationRequest,
    GenerationStats,
    ImagePart,
    Message,
    Part,
    RgbImage,
    TextChunk,
    TextPart,
    VideoPart,
)
from vila_ros.engine.json_schema import validate_json
from vila_ros.errors import Cancelled, OutOfMemory, PromptTooLong, TooManyFrames, VilaError

SECONDS = 120.0
"""Deadline of a probe's answer."""
CANCEL_SECONDS = 5.0
"""Within which a cancelled answer must have ended."""
SIZE = 384
_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue", "other"]}},
        "required": ["colour"],
    }
)
_IDS = itertools.count()


@dataclass(frozen=True)
class Outcome:
    """What a probe found. passed is None for what the runtime does not offer."""

    passed: bool | None
    detail: str
    stats: GenerationStats | None = None


@dataclass(frozen=True)
class Probe:
    """One probe. about: what it shows, for the list."""

    name: str
    about: str
    run: Callable[[Engine, Capabilities], Outcome]


@dataclass(frozen=True)
class Answered:
    """A whole answer."""

    text: str
    pieces: int
    last: TextChunk

    @property
    def stats(self) -> GenerationStats:
        """The answer's account."""
        return self.last.stats or GenerationStats()


def run_probe(probe: Probe, engine: Engine, capabilities: Capabilities) -> Outcome:
    """A probe's outcome; an error of the engine is a failed one."""
    try:
        return probe.run(engine, capabilities)
    except VilaError as error:
        return Outcome(False, f"{type(error).__name__}: {error.message}")


def _one_image(engine: Engine, capabilities: Capabilities) -> Outcome:
    answer = _ask(engine, _picture(0), "What colour is the image?")
    return Outcome(_complete(answer), _shown(answer), answer.stats)


def _two_images(engine: Engine, capabilities: Capabilities) -> Outcome:
    if capabilities.max_images < 2:
        return Outcome(None, f"the engine takes {capabilities.max_images} image")
    one = _ask(engine, _picture(0), "What colour is it?")
    two = _ask(engine, _picture(0), _picture(1), "Which colours are the two images?")
    twice = two.stats.image_tokens == 2 * one.stats.image_tokens
    told = f"{one.stats.image_tokens} and {two.stats.image_tokens} image tokens"
    return Outcome(_complete(two) and twice, f"{told}; {_shown(two)}", two.stats)


def _video(engine: Engine, capabilities: Capabilities) -> Outcome:
    if not capabilities.video:
        return Outcome(None, "the runtime takes no video")
    frames = min(4, capabilities.max_images)
    clip = VideoPart(tuple(_pixels(index % 2) for index in range(frames)))
    answer = _ask(engine, clip, "What happens?")
    return Outcome(_complete(answer), f"{frames} frames; {_shown(answer)}", answer.stats)


def _streaming(engine: Engine, capabilities: Capabilities) -> Outcome:
    answer = _ask(engine, "Count from one to thirty, in words.")
    return Outcome(
        answer.pieces > 1 and _complete(answer),
        f"{answer.last.tokens} tokens in {answer.pieces} pieces",
        answer.stats,
    )


def _cancel(engine: Engine, capabilities: Capabilities) -> Outcome:
    room = max(min(512, capabilities.context_length - 512), 8)
    request = _request("Write a long story about a robot.", max_tokens=room)
    stream = engine.generate(request)
    for chunk in stream:
        if chunk.tokens:
            break
    began = time.monotonic()
    engine.cancel(request.request_id)
    try:
        for _ in stream:
            pass
    except Cancelled:
        took = time.monotonic() - began
        after = _ask(engine, "Say yes.")
        fine = took <= CANCEL_SECONDS and _complete(after)
        return Outcome(fine, f"ended {took * 1000:.0f} ms after cancel(), the next one answered")
    return Outcome(False, "the answer went on to its end after cancel()")


def _json(engine: Engine, capabilities: Capabilities) -> Outcome:
    if not capabilities.structured_output:
        return Outcome(None, "the runtime has no structured output")
    request = _request(_picture(0), "Which colour is it?", json_schema=_SCHEMA)
    answer = _answered(engine.generate(request))
    validate_json(answer.text, _SCHEMA)
    return Outcome(True, _shown(answer), answer.stats)


def _too_much(engine: Engine, capabilities: Capabilities) -> Outcome:
    """One image more than the engine says it takes, which must be refused: beyond, yet bounded."""
    count = capabilities.max_images + 1
    pictures = [_picture(0)] * count
    try:
        _ask(engine, *pictures, "What is it?")
    except (TooManyFrames, PromptTooLong, OutOfMemory) as error:
        after = _ask(engine, "Say yes.")
        return Outcome(
            _complete(after), f"{count} images: {type(error).__name__}; the next one answered"
        )
    return Outcome(False, f"{count} images were answered, {capabilities.max_images} are the limit")


PROBES = (
    Probe("one image", "an answer about an image", _one_image),
    Probe("two images", "both images reach the model: twice the image tokens", _two_images),
    Probe("video", "an answer about a clip", _video),
    Probe("streaming", "text comes in pieces", _streaming),
    Probe("cancel", "an answer ends at once, and the next one is whole", _cancel),
    Probe("json", "the answer satisfies a JSON schema", _json),
    Probe("out of memory", "one image too many is refused, and the next one is whole", _too_much),
)


def _pixels(number: int) -> RgbImage:
    """Red, blue, …"""
    colour = ((220, 20, 20), (20, 20, 220))[number % 2]
    return np.full((SIZE, SIZE, 3), colour, dtype=np.uint8)


def _picture(number: int) -> ImagePart:
    return ImagePart(_pixels(number))


def _request(*parts: Part | str, max_tokens: int = 64, **fields: str) -> GenerationRequest:
    said = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    return GenerationRequest(
        request_id=f"probe-{next(_IDS)}",
        messages=(Message("user", said),),
        max_tokens=max_tokens,
        deadline=time.monotonic() + SECONDS,
        **fields,  # type: ignore[arg-type]
    )


def _ask(engine: Engine, *parts: Part | str) -> Answered:
    return _answered(engine.generate(_request(*parts)))


def _answered(stream: Iterator[TextChunk]) -> Answered:
    chunks = list(stream)
    pieces = sum(bool(chunk.text) for chunk in chunks)
    return Answered("".join(chunk.text for chunk in chunks), pieces, chunks[-1])


def _complete(answer: Answered) -> bool:
    """Whether it ended, with at least a token."""
    return answer.last.finish_reason is not None and answer.last.tokens > 0


def _shown(answer: Answered) -> str:
    text = " ".join(answer.text.split())
    return repr(text if len(text) <= 60 else text[:60] + "…")
