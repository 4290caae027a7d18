# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every runtime offers: images and text in, a stream of text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

RgbImage = NDArray[np.uint8]
"""A decoded image: uint8 RGB, [H, W, 3], C-contiguous."""


@dataclass(frozen=True, eq=False)
class TextPart:
    """Text of a prompt."""

    text: str


@dataclass(frozen=True, eq=False)
class ImagePart:
    """One image of a prompt.

    pixels: RgbImage.
    key: names the content for the embedding and prefix caches, e.g. "front@12000000000". Equal
        keys promise equal pixels. None: the engine names it by a hash of the pixels.
    """

    pixels: RgbImage
    key: str | None = None


@dataclass(frozen=True, eq=False)
class EncodedImagePart:
    """One image of a prompt as a file, for engines whose capabilities have encoded_images.

    data: the whole file. media_type: "image/jpeg" or "image/png". width, height: pixels.
    key: as in ImagePart.
    """

    data: bytes | memoryview
    media_type: str
    width: int
    height: int
    key: str | None = None


AnyImagePart = ImagePart | EncodedImagePart


@dataclass(frozen=True, eq=False)
class VideoPart:
    """A clip that a model with a video encoder sees as one medium; frames are RgbImages in time
    order. key as in ImagePart."""

    frames: tuple[RgbImage, ...]
    key: str | None = None


Part = TextPart | ImagePart | EncodedImagePart | VideoPart


@dataclass(frozen=True, eq=False)
class Message:
    """One turn of the conversation; the engine applies the model's own conversation template."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """One answer wanted from an engine.

    request_id: unique among the requests in flight.
    messages: an optional system message, then user and assistant turns alternating (few-shot
        examples are such pairs), the last one of the user.
    max_tokens: at least 1.
    temperature: 0 is greedy. top_p: (0, 1]. seed: the same seed gives the same text.
    stop: further strings that end the answer (not part of it), besides the template's own.
    json_schema / choices: at most one; choices are distinct non-empty strings.
    deadline: time.monotonic() (system-wide on Linux) at which generation ends with
        DeadlineExceeded; None for none.
    """

    request_id: str
    messages: tuple[Message, ...]
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    json_schema: str | None = None
    choices: tuple[str, ...] = ()
    deadline: float | None = None


class Stage(IntEnum):
    """Where an answer is; the constants of Ask.action's feedback."""

    QUEUED = 0
    DECODING = 1
    ENCODING = 2
    GENERATING = 3


class FinishReason(str, Enum):
    """Why generation ended without an error."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class GenerationStats:
    """What a generation cost inside the engine; durations in seconds from the engine's acceptance
    of the request (generate() called), fields as in InferenceStats.msg."""

    queue_time: float = 0.0
    vision_time: float = 0.0
    time_to_first_token: float = 0.0
    total_time: float = 0.0
    prompt_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    tokens_per_second: float = 0.0
    images_encoded: int = 0
    images_cached: int = 0


@dataclass(frozen=True)
class TextChunk:
    """A piece of a stream.

    text: what is new since the last chunk, possibly empty; whole code points only.
    tokens: tokens generated so far.
    The last chunk of a stream has finish_reason and stats; choice_probabilities is given there, in
    the order of request.choices, by engines that can.
    """

    text: str = ""
    tokens: int = 0
    stage: Stage = Stage.GENERATING
    finish_reason: FinishReason | None = None
    stats: GenerationStats | None = None
    choice_probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class EncodedImages:
    """How an engine takes images as files (EncodedImagePart), which it prefers to their pixels.

    media_type: "image/jpeg" or "image/png": what an image is made that is no such file yet.
    quality: of a JPEG that is made, 1 to 100. max_side: pixels of the longer side, to which larger
    images are shrunk; 0 for no bound. forward_bytes: the largest file that may be given as it came.
    """

    media_type: str = "image/jpeg"
    quality: int = 90
    max_side: int = 0
    forward_bytes: int = 0

    def take(self, part: EncodedImagePart) -> bool:
        """Whether the engine takes this file.

        Where PNG is made, a JPEG is taken too: a PNG of its pixels is larger and holds no more.
        """
        return (
            part.media_type in ("image/jpeg", self.media_type)
            and len(part.data) > 0
            and min(part.width, part.height) > 0
            and (not self.max_side or max(part.width, part.height) <= self.max_side)
        )

    def forward(self, part: EncodedImagePart) -> bool:
        """Whether this file of a camera is to be given as it came."""
        return len(part.data) <= self.forward_bytes and self.take(part)


@dataclass(frozen=True)
class Capabilities:
    """What a loaded engine can do.

    model: a name for people. runtime: "torch", … device: "cpu", "cuda:0", … dtype: "bfloat16", …
    max_images: images a request may hold. tokens_per_image: the most one image takes.
    context_length: prompt and answer together, tokens.
    max_concurrency: requests generated side by side; further ones wait inside the engine.
    memory_bytes: what the weights and preallocated caches hold.
    encoded_images: how it takes images as files; None if it takes pixels alone.
    """

    model: str
    runtime: str
    device: str
    dtype: str
    max_images: int
    tokens_per_image: int
    context_length: int
    max_concurrency: int = 1
    structured_output: bool = False
    choice_probabilities: bool = False
    video: bool = False
    memory_bytes: int = 0
    encoded_images: EncodedImages | None = None


@dataclass(frozen=True)
class EngineSpec:
    """What to start, in plain values so that it can cross a process boundary.

    runtime: a name known to vila_ros.engine.registry, or "package.module:Class".
    model: folder or hub id, read by the runtime.
    options: keyword arguments of the runtime's class, JSON values.
    """

    runtime: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Engine(Protocol):
    """A runtime. All methods may be called from any thread; all errors are VilaErrors.

    A runtime's class is built as Class(model, **options) and does nothing heavy before load().
    """

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do; None until it has been loaded once. Never blocks."""

    def load(self) -> Capabilities:
        """Load the model; blocks until it can generate."""

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """Stream the answer; blocks between chunks. Closing the iterator early cancels.

        Raises Cancelled after cancel(), DeadlineExceeded at the request's deadline, and the other
        errors of vila_ros.errors; the iterator raises, also for invalid requests.
        """

    def cancel(self, request_id: str) -> None:
        """End a request in flight between two tokens; unknown ids are ignored."""

    def close(self) -> None:
        """Release everything; requests in flight end with Cancelled."""
