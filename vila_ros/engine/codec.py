# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's types as fields and payload of wire messages, and back.

Encoders raise the error of the user who asked (InvalidImage, InvalidRequest); decoders raise
ProtocolError for everything that an encoder of this version does not write.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import (
    Capabilities,
    EncodedImagePart,
    EncodedImages,
    EngineSpec,
    FinishReason,
    GenerationRequest,
    GenerationStats,
    ImagePart,
    Message,
    Part,
    RgbImage,
    Stage,
    TextChunk,
    TextPart,
    VideoPart,
)
from vila_ros.engine.wire import ProtocolError
from vila_ros.errors import ErrorCode, InvalidImage, InvalidRequest, VilaError, error_from_code

Fields = Mapping[str, Any]
T = TypeVar("T")

CHANNELS = 3
ROLES = ("system", "user", "assistant")


def encode_spec(spec: EngineSpec) -> dict[str, Any]:
    """Fields of a spec; raises InvalidRequest for options that are not JSON values."""
    try:
        options = json.loads(json.dumps(dict(spec.options)))
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            f"The options of engine '{spec.runtime}' must be JSON values: {error}."
        ) from None
    return {"runtime": spec.runtime, "model": spec.model, "options": options}


def decode_spec(fields: Fields) -> EngineSpec:
    """The spec of encode_spec's fields."""
    return EngineSpec(
        runtime=take(fields, "runtime", str),
        model=take(fields, "model", str),
        options=take(fields, "options", dict),
    )


def encode_request(
    request: GenerationRequest, number: int
) -> tuple[dict[str, Any], list[memoryview]]:
    """Fields of a request, and its images as they lie in memory (copied if not contiguous).

    Raises InvalidImage for arrays that are no RgbImage.
    """
    images: list[memoryview] = []
    messages = [
        {"role": message.role, "parts": [_encode_part(part, images) for part in message.parts]}
        for message in request.messages
    ]
    fields = {
        "number": number,
        "request_id": request.request_id,
        "messages": messages,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": request.stop,
        "json_schema": request.json_schema,
        "choices": request.choices,
        "deadline": request.deadline,
    }
    return fields, images


def decode_request(fields: Fields, payload: NDArray[np.uint8]) -> GenerationRequest:
    """The request of encode_request; its images are views of the payload.

    Its request_id gets the number appended, since a name may be given again as soon as the asker
    has dropped the request, when the worker may still be ending it.
    """
    images = _Images(payload)
    messages = tuple(_decode_message(message, images) for message in take(fields, "messages", list))
    images.check_all_taken()
    return GenerationRequest(
        request_id=f"{take(fields, 'request_id', str)}#{take(fields, 'number', int)}",
        messages=messages,
        max_tokens=take(fields, "max_tokens", int),
        temperature=take(fields, "temperature", float),
        top_p=take(fields, "top_p", float),
        seed=take(fields, "seed", int),
        stop=_strings(fields, "stop"),
        json_schema=_optional(fields, "json_schema", str),
        choices=_strings(fields, "choices"),
        deadline=_optional(fields, "deadline", float),
    )


def encode_chunk(chunk: TextChunk, number: int) -> dict[str, Any]:
    """Fields of a chunk of the numbered request; most chunks are text alone, so little is sent."""
    fields: dict[str, Any] = {
        "number": number,
        "text": chunk.text,
        "tokens": chunk.tokens,
        "stage": int(chunk.stage),
    }
    if chunk.finish_reason is not None:
        fields["finish_reason"] = chunk.finish_reason.value
    if chunk.stats is not None:
        fields["stats"] = dataclasses.asdict(chunk.stats)
    if chunk.choice_probabilities:
        fields["choice_probabilities"] = [float(value) for value in chunk.choice_probabilities]
    return fields


def decode_chunk(fields: Fields) -> TextChunk:
    """The chunk of encode_chunk's fields."""
    reason = _optional(fields, "finish_reason", str)
    stats = _optional(fields, "stats", dict)
    probabilities = _optional(fields, "choice_probabilities", list) or []
    try:
        return TextChunk(
            text=take(fields, "text", str),
            tokens=take(fields, "tokens", int),
            stage=Stage(take(fields, "stage", int)),
            finish_reason=None if reason is None else FinishReason(reason),
            stats=None if stats is None else decode_plain(GenerationStats, stats),
            choice_probabilities=tuple(_of(value, float) for value in probabilities),
        )
    except ValueError as error:
        raise ProtocolError(f"A chunk holds a value that is not known: {error}.") from None


def encode_capabilities(capabilities: Capabilities) -> dict[str, Any]:
    """Fields of capabilities."""
    return dataclasses.asdict(capabilities)


def decode_capabilities(fields: Fields) -> Capabilities:
    """The capabilities of encode_capabilities' fields."""
    taken = _optional(fields, "encoded_images", dict)
    return decode_plain(
        Capabilities,
        fields,
        encoded_images=None if taken is None else decode_plain(EncodedImages, taken),
    )


def encode_error(error: VilaError) -> dict[str, Any]:
    """Fields of an error: its code and message."""
    return {"code": int(error.code), "message": error.message}


def decode_error(fields: Fields) -> VilaError:
    """The error of encode_error's fields; without a code (NONE) it is an internal one."""
    code = take(fields, "code", int)
    return error_from_code(code or int(ErrorCode.INTERNAL), take(fields, "message", str))


def take(fields: Fields, name: str, kind: type[T]) -> T:
    """The field of that name and type; an int is a float too. Raises ProtocolError."""
    if name not in fields:
        raise ProtocolError(f"A message lacks the field '{name}'.")
    return _of(fields[name], kind, name)


def decode_plain(kind: type[T], fields: Fields, **decoded: Any) -> T:
    """A dataclass whose fields are all str, int, float or bool, every one of them present.

    decoded: values of the fields that are not.
    """
    hints = get_type_hints(kind)
    plain = {name: take(fields, name, hints[name]) for name in hints if name not in decoded}
    return kind(**plain, **decoded)


def _of(value: Any, kind: type[T], name: str = "") -> T:
    if kind is float and type(value) is int:
        # JSON of other writers has 1 for 1.0. A huge integer has no float; nobody sends one.
        value = float(value) if abs(value) < 2**63 else None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(
            f"A message's field '{name}' is a {type(value).__name__}, not a {kind.__name__}."
        )
    return value


def _optional(fields: Fields, name: str, kind: type[T]) -> T | None:
    return None if fields.get(name) is None else take(fields, name, kind)


def _strings(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(_of(value, str, name) for value in take(fields, name, list))


def _encode_part(part: Part, payload: list[memoryview]) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if isinstance(part, EncodedImagePart):
        payload.append(memoryview(part.data).cast("B"))
        file = {"media_type": part.media_type, "width": part.width, "height": part.height}
        return {"file": {**file, "bytes": payload[-1].nbytes}, "key": part.key}
    images = (part.pixels,) if isinstance(part, ImagePart) else part.frames
    payload.extend(_bytes_of(image) for image in images)
    kind = "image" if isinstance(part, ImagePart) else "video"
    return {kind: [image.shape[:2] for image in images], "key": part.key}


def _bytes_of(image: RgbImage) -> memoryview:
    shape, dtype = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != CHANNELS or 0 in shape:
        raise InvalidImage(
            f"An image is {dtype} of shape {shape}; uint8 of shape (height, width, 3) is needed."
        )
    return np.ascontiguousarray(image).data.cast("B")


class _Images:
    """Hands out a payload's images in the order in which they were sent."""

    def __init__(self, payload: NDArray[np.uint8]) -> None:
        self._payload = payload
        self._taken = 0

    def take_file(self, size: int) -> memoryview:
        """The next file, of that many bytes; raises ProtocolError."""
        return self._next(size, f"An image file of {size} bytes").data

    def take(self, shapes: list[Any]) -> Iterator[RgbImage]:
        """The next images, [height, width, 3] each; raises ProtocolError."""
        for shape in shapes:
            if not isinstance(shape, list) or len(shape) != 2:
                raise ProtocolError(f"An image's shape is {shape!r}, not [height, width].")
            height, width = (_of(size, int, "shape") for size in shape)
            size = height * width * CHANNELS if min(height, width) > 0 else 0
            pixels = self._next(size, f"An image of {width}x{height} pixels")
            yield pixels.reshape(height, width, CHANNELS)

    def check_all_taken(self) -> None:
        """Raise ProtocolError if bytes are left that no image claimed."""
        if self._taken != self._payload.size:
            raise ProtocolError(
                f"{self._payload.size - self._taken} bytes of a message's payload belong to no "
                "image."
            )

    def _next(self, size: int, what: str) -> NDArray[np.uint8]:
        start, end = self._taken, self._taken + size
        if size < 1 or end > self._payload.size:
            raise ProtocolError(
                f"{what} does not fit the message's payload of {self._payload.size} bytes."
            )
        self._taken = end
        return self._payload[start:end]


def _decode_message(fields: Any, images: _Images) -> Message:
    fields = _of(fields, dict, "messages")
    role = take(fields, "role", str)
    if role not in ROLES:
        raise ProtocolError(f"A message's role is '{role}', not one of {', '.join(ROLES)}.")
    parts = tuple(_decode_part(part, images) for part in take(fields, "parts", list))
    return Message(role, parts)  # type: ignore[arg-type]


def _decode_part(fields: Any, images: _Images) -> Part:
    fields = _of(fields, dict, "parts")
    if "text" in fields:
        return TextPart(take(fields, "text", str))
    key = _optional(fields, "key", str)
    if "file" in fields:
        return _decode_file(take(fields, "file", dict), key, images)
    kind = "image" if "image" in fields else "video"
    pixels = tuple(images.take(take(fields, kind, list)))
    if kind == "video":
        return VideoPart(pixels, key)
    if len(pixels) != 1:
        raise ProtocolError(f"An image part holds {len(pixels)} images, not one.")
    return ImagePart(pixels[0], key)


def _decode_file(fields: Fields, key: str | None, images: _Images) -> EncodedImagePart:
    return EncodedImagePart(
        images.take_file(take(fields, "bytes", int)),
        take(fields, "media_type", str),
        take(fields, "width", int),
        take(fields, "height", int),
        key,
    )
