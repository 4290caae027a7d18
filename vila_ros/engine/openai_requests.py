# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A GenerationRequest as the body of POST /v1/chat/completions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vila_ros.engine.interface import (
    GenerationRequest,
    Message,
    Part,
    TextPart,
    VideoPart,
)
from vila_ros.engine.openai_constraint import Constraint
from vila_ros.engine.openai_dialect import Plan
from vila_ros.engine.openai_images import EncodedMedia, Media
from vila_ros.errors import InvalidRequest

TOP_LOGPROBS = 20
"""As many alternatives a token as every server grants (OpenAI's and vLLM's own limit)."""

_MAX_SEED = 2**31


@dataclass(frozen=True)
class PromptStyle:
    """How messages are written.

    single_turn: everything in one user message, for servers whose template drops roles, such as
        trtllm-serve with llava_llama. video_url: clips as one video_url part (the base64 frames
        of data:video/jpeg, which vLLM reads) instead of one image_url a frame.
    """

    single_turn: bool = False
    video_url: bool = False


@dataclass(frozen=True, eq=False)
class Body:
    """A request's body in pieces, so that encoded images are never copied nor escaped.

    fields: its top-level names.
    """

    pieces: tuple[bytes, ...]
    fields: frozenset[str]

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return sum(map(len, self.pieces))


class BodyWriter:
    """Writes the bodies of one request: the messages once, the rest for each plan."""

    def __init__(
        self,
        model: str,
        request: GenerationRequest,
        media: Sequence[EncodedMedia],
        style: PromptStyle,
    ) -> None:
        self._model = model
        self._request = request
        # Stands for a URL while the JSON is made; unguessable, so no prompt can hold it.
        self._mark = f"url-{secrets.token_hex(16)}-"
        self._urls: list[bytes] = []
        messages = request.messages
        if style.single_turn:
            messages = (in_one_turn(messages),)
        waiting = iter(media)
        self._messages = [self._message(message, waiting, style) for message in messages]

    def body(self, plan: Plan, constraint: Constraint | None, *, logprobs: bool) -> Body:
        """The body by a plan. logprobs: ask for the alternatives of each token."""
        request = self._request
        fields: dict[str, Any] = {
            "model": self._model,
            "messages": self._with_instruction(plan, constraint),
            "stream": True,
            plan.answer_limit: request.max_tokens,
            # Always told: trtllm-serve's own default is 1.0, vLLM's is the checkpoint's.
            "temperature": request.temperature,
        }
        optional: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if request.temperature > 0:
            optional["top_p"] = request.top_p
            optional["seed"] = request.seed % _MAX_SEED
        if request.stop:
            optional["stop"] = list(request.stop)
        if logprobs:
            optional["logprobs"] = True
            optional["top_logprobs"] = TOP_LOGPROBS
        fields.update({name: value for name, value in optional.items() if plan.has(name)})
        if constraint is not None and plan.form is not None:
            fields.update(constraint.fields(plan.form))
        return Body(self._pieces(json.dumps(fields)), frozenset(fields))

    def _with_instruction(self, plan: Plan, constraint: Constraint | None) -> list[dict[str, Any]]:
        if constraint is None or not plan.instruct:
            return self._messages
        *earlier, last = self._messages
        content = last["content"]
        if isinstance(content, str):
            content = f"{content}\n{constraint.instruction}"
        else:
            content = [*content, {"type": "text", "text": constraint.instruction}]
        return [*earlier, {**last, "content": content}]

    def _message(self, message: Message, media: Any, style: PromptStyle) -> dict[str, Any]:
        if all(isinstance(part, TextPart) for part in message.parts):
            # A plain string is what every template takes, of the system and the assistant too.
            texts = [part.text for part in message.parts if isinstance(part, TextPart)]
            return {"role": message.role, "content": "\n".join(texts)}
        content: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": part.text})
                continue
            encoded: EncodedMedia = next(media)
            if isinstance(part, VideoPart) and style.video_url:
                url = b"data:video/jpeg;base64," + b",".join(encoded.base64)
                content.append({"type": "video_url", "video_url": {"url": self._marked(url)}})
                continue
            content += [
                {"type": "image_url", "image_url": {"url": self._marked(url)}}
                for url in encoded.urls
            ]
        return {"role": message.role, "content": content}

    def _marked(self, url: bytes) -> str:
        self._urls.append(url)
        return f"{self._mark}{len(self._urls) - 1}."

    def _pieces(self, text: str) -> tuple[bytes, ...]:
        first, *rest = text.split(self._mark)
        pieces = [first.encode("ascii")]
        for each in rest:
            number, _, following = each.partition(".")
            pieces += [self._urls[int(number)], following.encode("ascii")]
        return tuple(pieces)


def media_of(messages: Sequence[Message]) -> list[Media]:
    """Every image and clip of the messages, in order."""
    return [
        part for message in messages for part in message.parts if not isinstance(part, TextPart)
    ]


def check_messages(messages: Sequence[Message]) -> None:
    """Raise InvalidRequest unless the messages are as GenerationRequest describes them."""
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    expected = ["user", "assistant"] * len(turns)
    if not turns or len(turns) % 2 == 0 or turns != expected[: len(turns)]:
        raise InvalidRequest(
            f"The messages' roles are {', '.join(roles) or 'none'}; they must be an optional "
            "system, then user and assistant alternating, the last one user."
        )


def in_one_turn(messages: Sequence[Message]) -> Message:
    """The whole conversation as one message of the user: instructions, examples, the question."""
    if len(messages) == 1:
        return messages[0]
    parts: list[Part] = []
    for message in messages:
        if message.role == "assistant":
            parts.append(TextPart("Answer:"))
        elif message.role == "user" and len(messages) > 2:
            parts.append(TextPart("Question:"))
        parts += message.parts
    if any(message.role == "assistant" for message in messages):
        parts.append(TextPart("Answer:"))
    return Message("user", tuple(parts))
