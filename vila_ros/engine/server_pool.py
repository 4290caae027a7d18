# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The servers that may answer: which one is asked next, and who is well.

Everything here belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vila_ros.engine.http_connection import HttpClient, HttpFailure, ServerUrl
from vila_ros.engine.openai_dialect import Dialect, kind_of_owner
from vila_ros.engine.openai_errors import (
    MAX_ERROR_BYTES,
    Asked,
    Trouble,
    is_web_page,
    trouble_of_response,
    web_page,
)
from vila_ros.errors import EngineDown, EngineFailed, QueueFull, VilaError

logger = logging.getLogger(__name__)

# transformers serve fails with 500 where it finds no cache of models to list.
_NO_LIST = (404, 405, 500, 501)
_MAX_LIST_BYTES = 4 * 1024**2
_BACKOFF_BASE = 0.2
_BACKOFF_LIMIT = 10.0


@dataclass(frozen=True)
class ModelCard:
    """A model that a server lists. context_length: 0 if it does not say."""

    name: str
    owned_by: str = ""
    context_length: int = 0


@dataclass(eq=False)
class Server:
    """One server and what is known of it.

    in_flight: requests under way. error: why it is avoided; None while it is well. not_before:
    monotonic time until which it asked to be left alone. models: what it lists, () if it does not.
    """

    url: ServerUrl
    client: HttpClient
    asked: Asked
    dialect: Dialect = field(default_factory=Dialect)
    in_flight: int = 0
    error: VilaError | None = None
    not_before: float = 0.0
    last_used: float = 0.0
    models: tuple[ModelCard, ...] = ()


class ServerPool:
    """Chooses servers and watches them.

    headers: sent with every request, the key among them. kind: a key of openai_dialect.KINDS, or
    "auto" to recognise it.
    """

    def __init__(
        self,
        urls: Sequence[ServerUrl],
        *,
        model: str,
        key: str,
        kind: str,
        tls: ssl.SSLContext | None,
        connect_timeout: float,
        check_timeout: float,
    ) -> None:
        self.headers = {
            "Accept-Encoding": "identity",
            "User-Agent": "vila_ros",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }
        self._kind = kind
        self._check_timeout = check_timeout
        self.servers = [
            Server(
                url,
                HttpClient(url, tls, connect_timeout),
                Asked(str(url), model, key),
                Dialect("openai" if kind == "auto" else kind),
            )
            for url in urls
        ]

    def pick(self, avoid: Collection[Server] = ()) -> Server:
        """The server to ask: well before ailing, not in `avoid`, with the fewest in flight.

        When all ail, the one that was tried least recently: it may have come back.
        """
        now = time.monotonic()
        return min(
            self.servers,
            key=lambda server: (
                server.error is not None,
                server.not_before > now,
                any(server is each for each in avoid),
                server.in_flight,
                server.last_used,
            ),
        )

    def mark_failed(self, server: Server, trouble: Trouble) -> None:
        """Take note of a failed attempt."""
        if trouble.retry_after:
            server.not_before = time.monotonic() + trouble.retry_after
        if trouble.down:
            self._set_error(server, trouble.error)

    def mark_well(self, server: Server) -> None:
        """Take note of an answer."""
        server.not_before = 0.0
        self._set_error(server, None)

    async def check(self, server: Server) -> None:
        """Ask a server how it is, and which models it has."""
        busy = server.in_flight > 0
        try:
            await asyncio.wait_for(self._check(server), self._check_timeout)
        except asyncio.TimeoutError:
            if busy or server.in_flight:
                return  # It may be busy with them, and they have their own limits of time.
            message = (
                f"Server {server.url} did not answer within {self._check_timeout:g} s; check that "
                "it runs and that this machine reaches it."
            )
            self._set_error(server, EngineDown(message))
        except HttpFailure as failure:
            self._set_error(server, unreachable(server, failure).error)
        except Trouble as trouble:
            self._set_error(server, trouble.error)
        else:
            self._set_error(server, None)

    async def check_all(self) -> None:
        """Ask every server how it is, side by side."""
        await asyncio.gather(*map(self.check, self.servers))

    async def watch(self, interval: float) -> None:
        """Check all servers every `interval` seconds until cancelled."""
        while True:
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))  # noqa: S311 not for secrets
            await self.check_all()

    def all_down(self) -> VilaError | None:
        """Why no server can be asked; None if one is well."""
        errors = [server.error for server in self.servers if server.error is not None]
        if len(errors) < len(self.servers):
            return None
        if len(errors) == 1:
            return errors[0]
        # What waiting does not mend comes first.
        failed = [error for error in errors if not isinstance(error, EngineDown)]
        kind = type(failed[0]) if failed else EngineDown
        return kind(" ".join(error.message for error in failed or errors))

    def close(self) -> None:
        """Close every connection that waits."""
        for server in self.servers:
            server.client.close()

    async def _check(self, server: Server) -> None:
        status, headers, body = await self._get(server, f"{server.url.path}/models")
        if status != 200:
            if status in _NO_LIST and await self._is_healthy(server, unless_told=status != 500):
                return
            raise trouble_of_response(status, headers, body, server.asked)
        if is_web_page(headers, body):
            raise web_page(server.asked)
        server.models = parse_models(body, server.asked)
        if self._kind == "auto" and server.models and server.dialect.kind == "openai":
            server.dialect.kind = kind_of_owner(server.models[0].owned_by)

    async def _is_healthy(self, server: Server, *, unless_told: bool) -> bool:
        """Ask for GET /health, which servers have beside /v1, where there is no list of models.

        unless_told: the answer for a server that has no such path either; a gateway's first
        question will tell whether it answers.
        """
        root = server.url.path.removesuffix("/v1")
        status, _, _ = await self._get(server, f"{root}/health")
        return unless_told if status in (404, 405, 501) else status == 200

    async def _get(self, server: Server, target: str) -> tuple[int, Mapping[str, str], bytes]:
        async with server.client.request("GET", target, self.headers) as response:
            limit = _MAX_LIST_BYTES if response.status == 200 else MAX_ERROR_BYTES
            return response.status, response.headers, await response.read(limit)

    def _set_error(self, server: Server, error: VilaError | None) -> None:
        if error is not None and server.error is None:
            logger.warning("Server %s is avoided: %s", server.url, error.message)
        elif error is None and server.error is not None:
            logger.info("Server %s is well again.", server.url)
        server.error = error


def parse_models(body: bytes, asked: Asked) -> tuple[ModelCard, ...]:
    """The list of GET /v1/models; raises Trouble if it is none."""
    try:
        listed = json.loads(body)
    except (ValueError, RecursionError):
        listed = None
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        raise Trouble(
            EngineFailed(
                f"Server {asked.server} does not list its models as the API does; check the URL "
                "in servers, which most often ends in /v1."
            ),
            retry=False,
            down=True,
        )
    cards = []
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            owner = str(entry.get("owned_by") or "")
            cards.append(ModelCard(entry["id"], owner, _context_length(entry)))
    return tuple(cards)


def _context_length(entry: Mapping[str, Any]) -> int:
    """What vLLM and SGLang say as max_model_len, llama.cpp as meta.n_ctx, gateways otherwise."""
    meta = entry.get("meta")
    found = [
        entry.get("max_model_len"),
        entry.get("context_length"),
        meta.get("n_ctx") if isinstance(meta, dict) else None,
    ]
    return next((value for value in found if isinstance(value, int) and value > 0), 0)


def unreachable(server: Server, failure: HttpFailure) -> Trouble:
    """The trouble of a server that gave no answer."""
    return Trouble(
        EngineDown(
            f"Server {server.url} gave no answer: {failure}. Check that it runs and that this "
            "machine reaches it."
        ),
        retry=True,
        down=True,
    )


def limited(server: Server, seconds: float) -> Trouble:
    """The trouble of a server that is not asked, as it asked to be left alone for so long."""
    return Trouble(
        QueueFull(
            f"Server {server.url} has asked to be left alone (Retry-After). Try again in "
            f"{seconds:.0f} s."
        ),
        retry=True,
    )


def backoff(attempt: int) -> float:
    """Seconds to wait before attempt 1, 2, …: doubling, with jitter so that a fleet spreads."""
    longest: float = min(_BACKOFF_LIMIT, _BACKOFF_BASE * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 not for secrets
