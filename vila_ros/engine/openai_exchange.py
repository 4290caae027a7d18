# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One question put once to one server: every way in which that goes wrong becomes a Trouble."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from vila_ros.engine.http_connection import HttpFailure, NotHttp, Response, Unreachable
from vila_ros.engine.openai_errors import (
    MAX_ERROR_BYTES,
    Trouble,
    is_web_page,
    trouble_in_stream,
    trouble_of_response,
    web_page,
)
from vila_ros.engine.openai_requests import Body
from vila_ros.engine.openai_stream import (
    END,
    MAX_ANSWER_CHARACTERS,
    MAX_EVENT_BYTES,
    BrokenStream,
    Delta,
    ServerReported,
    parse_delta,
    server_sent_events,
)
from vila_ros.engine.server_pool import Server, unreachable
from vila_ros.errors import EngineDown, EngineFailed

T = TypeVar("T")

_LAST_BYTES_SECONDS = 0.05
_FAILED_REASONS = {
    "abort": "it aborted the answer",
    "error": "it failed while it answered",
    "content_filter": "its content filter withheld the answer",
}


@dataclass(frozen=True)
class Patience:
    """How long a server may be silent, in seconds: before the first token, and between tokens."""

    first_token: float
    stall: float


async def completion(
    server: Server, headers: Mapping[str, str], body: Body, patience: Patience
) -> AsyncGenerator[Delta, None]:
    """The answer as it comes, whole: it ends with the server's own end, or with Trouble.

    Closing the iterator, or cancelling the task, disconnects at once.
    """
    try:
        async with contextlib.AsyncExitStack() as stack:
            silence = _Silence(patience)
            request = server.client.request(
                "POST",
                f"{server.url.path}/chat/completions",
                {
                    **headers,
                    "Content-Type": "application/json",
                    "Content-Length": str(body.size),
                    "Accept": "text/event-stream, application/json",
                },
                body.pieces,
            )
            response = await silence.bound(stack.enter_async_context(request))
            deltas = await stack.enter_async_context(
                contextlib.aclosing(_deltas(response, server, silence))
            )
            async for delta in deltas:
                yield delta
    except asyncio.TimeoutError:
        raise _too_slow(server, silence) from None
    except Unreachable as failure:
        raise unreachable(server, failure) from None
    except NotHttp as failure:
        raise Trouble(
            EngineFailed(f"Server {server.url} cannot be understood: {failure}."), retry=False
        ) from None
    except HttpFailure as failure:
        raise Trouble(
            EngineDown(f"Server {server.url} broke off: {failure}."), retry=True, down=True
        ) from None
    except ServerReported as report:
        raise trouble_in_stream(str(report), server.asked) from None


class _Silence:
    """Bounds the time without progress; what carries no token does not count as progress."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._since = time.monotonic()
        self.limit = patience.first_token
        self.broken = False

    def end(self) -> None:
        """A token came."""
        self._since = time.monotonic()
        self.limit = self._patience.stall
        self.broken = True

    async def bound(self, awaited: Awaitable[T]) -> T:
        """Await within what is left of the time; raises TimeoutError."""
        left = self._since + self.limit - time.monotonic()
        return await asyncio.wait_for(awaited, max(left, 0.0))


async def _deltas(
    response: Response, server: Server, silence: _Silence
) -> AsyncGenerator[Delta, None]:
    if response.status != 200:
        body = await silence.bound(response.read(MAX_ERROR_BYTES))
        raise trouble_of_response(response.status, response.headers, body, server.asked)
    if is_web_page(response.headers, b""):
        raise web_page(server.asked)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise BrokenStream("its answer is compressed, which was not asked for")
    if "application/json" in response.headers.get("content-type", "").lower():
        yield await _whole_answer(response, silence)
        return
    finished, characters = False, 0
    async with contextlib.aclosing(server_sent_events(response.chunks())) as events:
        while True:
            try:
                data = await silence.bound(anext(events))
            except StopAsyncIteration:
                break
            if data.strip() == END:
                finished = True
                break
            delta = parse_delta(data)
            _check_reason(delta)
            finished = finished or delta.finish_reason is not None
            if delta.text or delta.reasoning or finished:
                silence.end()
            characters += len(delta.text)
            if characters > MAX_ANSWER_CHARACTERS:
                raise BrokenStream(f"its answer exceeds {MAX_ANSWER_CHARACTERS} characters")
            yield delta
    if not finished:
        raise HttpFailure("its answer ended without saying so")
    # The body's end most often comes with it; then the connection can be used again.
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(response.read(MAX_ERROR_BYTES), _LAST_BYTES_SECONDS)


async def _whole_answer(response: Response, silence: _Silence) -> Delta:
    """The answer of a server that does not stream."""
    body = await silence.bound(response.read(4 * MAX_EVENT_BYTES))
    delta = parse_delta(body.decode("utf-8", "replace"))
    _check_reason(delta)
    return delta


def _check_reason(delta: Delta) -> None:
    if delta.finish_reason in _FAILED_REASONS:
        raise ServerReported(_FAILED_REASONS[delta.finish_reason])


def _too_slow(server: Server, silence: _Silence) -> Trouble:
    what = "stopped in the middle of its answer" if silence.broken else "did not begin to answer"
    option = "stall_timeout" if silence.broken else "first_token_timeout"
    return Trouble(
        EngineDown(
            f"Server {server.url} {what} within {silence.limit:g} s ({option}); it hangs or is "
            "overloaded."
        ),
        retry=True,
        down=True,
    )
