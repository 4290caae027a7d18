# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 to one server: connections that are reused, and ended at once when a task is cancelled.

h11 reads and writes the protocol, asyncio moves the bytes. Redirects are not followed, proxies and
cookies are not used, and nothing but the given headers is sent: a key goes to the configured server
or nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from vila_ros.errors import InvalidRequest

_READ_BYTES = 64 * 1024
_IDLE_CONNECTIONS = 8
_IDLE_SECONDS = 30.0


class HttpFailure(Exception):
    """No complete answer came. The message says what happened, without the server's name."""


class Unreachable(HttpFailure):
    """No connection could be made; nothing has been sent."""


class Disconnected(HttpFailure):
    """The server closed the connection before the end of its answer."""


class NotHttp(HttpFailure):
    """What came is not HTTP/1.1, or exceeds its limits."""


@dataclass(frozen=True)
class ServerUrl:
    """Where a server's API begins, e.g. http://gpu-box:8000/v1."""

    secure: bool
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port as in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether requests stay on this machine."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def parse_server_url(text: str) -> ServerUrl:
    """The URL of an OpenAI-compatible API; without a path, /v1 is meant.

    Raises InvalidRequest, whose message never holds a password that was in the URL.
    """
    example = "for example http://192.168.0.10:8000/v1"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidRequest(f"A server's URL cannot be read; write it as {example}.") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidRequest(
            f"The URL of server {parts.hostname!r} holds a user or a password; name the environment"
            " variable that holds the key in api_key_env instead."
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequest(
            f"{text!r} is not the URL of a server: it must begin with http:// or https://, "
            f"{example}."
        )
    if parts.query or parts.fragment or re.search(r"[^\x21-\x7e]", text):
        raise InvalidRequest(
            f"{text!r} is not the URL of a server: no query, no fragment, no spaces; {example}."
        )
    secure = parts.scheme == "https"
    if port is None:
        port = 443 if secure else 80
    return ServerUrl(secure, parts.hostname, port, parts.path.rstrip("/") or "/v1")


class Response:
    """An answer whose head has come. headers: lower-case names."""

    def __init__(self, status: int, headers: Mapping[str, str], connection: _Connection) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises Disconnected, NotHttp."""
        while not self._ended:
            event = await self._connection.next_event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            self._ended = isinstance(event, h11.EndOfMessage)

    async def read(self, limit: int) -> bytes:
        """The body, cut after limit bytes; what came before a disconnect is kept."""
        body = bytearray()
        with contextlib.suppress(HttpFailure):
            async for chunk in self.chunks():
                body += chunk
                if len(body) >= limit:
                    break
        return bytes(body[:limit])


class HttpClient:
    """Requests to one server. Belongs to the event loop's thread."""

    def __init__(self, url: ServerUrl, tls: ssl.SSLContext | None, connect_timeout: float) -> None:
        self.url = url
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._idle: list[_Connection] = []

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Sequence[bytes] = (),
    ) -> AsyncIterator[Response]:
        """Send a request and give its Response as soon as the head has come.

        target: the whole path on the server.
        Leaving the context before the body has ended closes the connection, which tells the server
        to stop. Raises Unreachable, Disconnected and NotHttp.
        """
        connection, response = await self._begin(method, target, headers, body)
        try:
            yield response
        finally:
            self._release(connection)

    def close(self) -> None:
        """Close the connections that wait for another request."""
        while self._idle:
            self._idle.pop().abort()

    async def _begin(
        self, method: str, target: str, headers: Mapping[str, str], body: Sequence[bytes]
    ) -> tuple[_Connection, Response]:
        while True:
            reused = self._take_idle()
            connection = reused or await self._connect()
            try:
                response = await connection.exchange(
                    h11.Request(
                        method=method,
                        target=target,
                        headers=[("Host", self.url.authority), *headers.items()],
                    ),
                    body,
                )
            except Disconnected:
                connection.abort()
                if reused is None:
                    raise
                # A server may close a connection that was idle; a fresh one has the say.
            except BaseException:
                connection.abort()
                raise
            else:
                return connection, response

    async def _connect(self) -> _Connection:
        try:
            reader, writer = await asyncio.wait_for(
                asyncio.open_connection(
                    self.url.host,
                    self.url.port,
                    ssl=self._tls if self.url.secure else None,
                    limit=_READ_BYTES,
                ),
                self._connect_timeout,
            )
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"its certificate is not trusted ({error.verify_message}); name the certificate "
                "authority's file in ca_file"
            ) from None
        except asyncio.TimeoutError:
            raise Unreachable(f"no connection within {self._connect_timeout:g} s") from None
        except OSError as error:
            raise Unreachable(f"no connection ({_reason(error)})") from None
        return _Connection(reader, writer)

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive and time.monotonic() - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    def _release(self, connection: _Connection) -> None:
        if len(self._idle) < _IDLE_CONNECTIONS and connection.prepare_next():
            self._idle.append(connection)
        else:
            connection.abort()


class _Connection:
    """One connection and where its protocol stands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.CLIENT)
        self._upload: asyncio.Task[None] | None = None
        self.idle_since = 0.0

    @property
    def alive(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, request: h11.Request, body: Sequence[bytes]) -> Response:
        """Send the request and wait for the answer's head.

        The body goes out beside the reading, for a server may refuse a request before it has read
        all of it.
        """
        self._write(self._protocol.send(request))
        self._upload = asyncio.create_task(self._send_body(body))
        event = await self.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = await self.next_event()
        if not isinstance(event, h11.Response):
            raise NotHttp("it answered without a head")
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
        return Response(event.status_code, headers, self)

    async def next_event(self) -> h11.Event:
        """The next part of the answer; raises Disconnected, NotHttp."""
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(_READ_BYTES)
                if not data and self._protocol.their_state is h11.SEND_RESPONSE:
                    if self._protocol.trailing_data[0]:
                        raise NotHttp("its answer is not HTTP/1.1")
                    raise Disconnected("it closed the connection without an answer")
                self._protocol.receive_data(data)
        except h11.RemoteProtocolError as error:
            if self._reader.at_eof():
                raise Disconnected("it closed the connection in the middle of its answer") from None
            raise NotHttp(f"its answer is not HTTP/1.1 ({error})") from None
        except OSError as error:
            raise Disconnected(f"the connection broke ({_reason(error)})") from None
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise Disconnected("it closed the connection, or answered before it was asked")
        return event

    def prepare_next(self) -> bool:
        """Get ready for another request; False if the connection cannot carry one."""
        if self._upload is not None and not self._upload.done():
            return False
        states = (self._protocol.our_state, self._protocol.their_state)
        if not self.alive or states != (h11.DONE, h11.DONE):
            return False
        self._protocol.start_next_cycle()
        self.idle_since = time.monotonic()
        return True

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        if self._upload is not None:
            self._upload.cancel()
        self._writer.transport.abort()

    async def _send_body(self, body: Sequence[bytes]) -> None:
        try:
            for part in body:
                self._write(self._protocol.send(h11.Data(data=part)))
                await self._writer.drain()
            self._write(self._protocol.send(h11.EndOfMessage()))
            await self._writer.drain()
        except (OSError, h11.LocalProtocolError):
            # The reading side learns what the server had to say, or that it has gone.
            return

    def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)


def _reason(error: OSError) -> str:
    """What went wrong, in the system's words; asyncio puts addresses in place of them."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error)
