# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The body of a chat completion: server-sent events, bounded, as pieces of an answer.

The format of events: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vila_ros.engine.http_connection import NotHttp

MAX_EVENT_BYTES = 1024**2
MAX_STREAM_BYTES = 64 * 1024**2
MAX_ANSWER_CHARACTERS = 1024**2

END = "[DONE]"


class BrokenStream(NotHttp):
    """The server sent what is not a stream of chat completion chunks, or too much of it."""


class ServerReported(Exception):
    """The server ended its stream with an error of its own; the message is the server's."""


@dataclass(frozen=True)
class Usage:
    """Tokens that the server counted."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class TokenChances:
    """A token that was chosen, and the log probabilities of the likeliest ones in its place."""

    token: str
    alternatives: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Delta:
    """One event: what is new. finish_reason as the server names it; None while it goes on."""

    text: str = ""
    reasoning: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    chances: tuple[TokenChances, ...] = ()


async def server_sent_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The data of each event; comments, which some servers send to keep a connection alive, and
    other fields are skipped. Raises BrokenStream beyond MAX_EVENT_BYTES or MAX_STREAM_BYTES."""
    buffer = bytearray()
    data: list[bytes] = []
    scanned = total = held = 0
    async for chunk in chunks:
        buffer += chunk
        total += len(chunk)
        if total > MAX_STREAM_BYTES:
            raise BrokenStream(f"its answer exceeds {MAX_STREAM_BYTES} bytes")
        while (end := buffer.find(b"\n", scanned)) >= 0:
            line = bytes(buffer[:end]).rstrip(b"\r")
            del buffer[: end + 1]
            scanned = 0
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
                held += len(line)
            elif not line and data:
                yield _decoded(data)
                data, held = [], 0
        scanned = len(buffer)
        if scanned + held > MAX_EVENT_BYTES:
            raise BrokenStream(f"an event of its answer exceeds {MAX_EVENT_BYTES} bytes")
    if data:
        yield _decoded(data)  # a last event without its blank line


def _decoded(lines: list[bytes]) -> str:
    try:
        return b"\n".join(lines).decode()
    except UnicodeDecodeError:
        raise BrokenStream("an event of its answer is not UTF-8") from None


def parse_delta(data: str) -> Delta:
    """An event's data, or a whole chat completion, as a Delta.

    Raises BrokenStream if it is neither, ServerReported if it is an error.
    """
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise BrokenStream(f"an event of its answer is not JSON: {data[:80]!r}") from None
    if not isinstance(event, dict):
        raise BrokenStream(f"an event of its answer is not an object: {data[:80]!r}")
    if event.get("error"):
        raise ServerReported(message_of(event))
    choices = event.get("choices")
    if not isinstance(choices, list):
        raise BrokenStream(f"an event of its answer has no choices: {data[:80]!r}")
    usage = _usage(event.get("usage"))
    if not choices:
        return Delta(usage=usage)
    choice = _object(choices[0])
    said = _object(choice.get("delta") or choice.get("message"))
    content, reason = said.get("content") or "", choice.get("finish_reason")
    if not isinstance(content, str) or not isinstance(reason, str | None):
        raise BrokenStream(f"an event of its answer has no text: {data[:80]!r}")
    return Delta(
        text=content,
        reasoning=bool(said.get("reasoning_content") or said.get("reasoning")),
        finish_reason=reason,
        usage=usage,
        chances=_chances(choice.get("logprobs")),
    )


def message_of(body: Any) -> str:
    """What an error body says; servers nest it differently. Empty if it says nothing."""
    for _ in range(4):
        if isinstance(body, str):
            return body
        if isinstance(body, list):
            return "; ".join(filter(None, (message_of(item) for item in body[:4])))
        if not isinstance(body, dict):
            return ""
        # FastAPI's validation errors say where: {"loc": ["body", "seed"], "msg": "…"}.
        if isinstance(body.get("msg"), str):
            where = body.get("loc")
            at = ".".join(str(part) for part in where) if isinstance(where, list) else ""
            return f"{at}: {body['msg']}" if at else str(body["msg"])
        keys = ("error", "message", "detail")
        body = next((body[key] for key in keys if body.get(key)), None)
    return ""


class WholeText:
    """Joins surrogates that a server split over two events, for text holds whole code points."""

    def __init__(self) -> None:
        self._held = ""

    def add(self, text: str) -> str:
        """What may be given out now; a lone surrogate becomes U+FFFD."""
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _joined(text)

    def finish(self) -> str:
        """The text still held back at the end of the answer."""
        held, self._held = self._held, ""
        return _joined(held)


def _joined(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
    )


def _chances(logprobs: Any) -> tuple[TokenChances, ...]:
    content = _object(logprobs).get("content")
    if not isinstance(content, list):
        return ()
    chances = []
    for entry in map(_object, content):
        likeliest = entry.get("top_logprobs")
        alternatives = {
            str(each["token"]): float(each["logprob"])
            for each in map(_object, likeliest if isinstance(likeliest, list) else ())
            if "token" in each and isinstance(each.get("logprob"), int | float)
        }
        chances.append(TokenChances(str(entry.get("token", "")), alternatives))
    return tuple(chances)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
