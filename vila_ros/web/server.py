# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A web server for one person on this machine.

It listens on loopback alone. Whoever is to use it knows its address with a random token in it, as
other users of the machine do not; what comes in by another name than the machine's own (DNS
rebinding) or from another site's page is refused; bodies are bounded; files are served from a list
that was read at the start, so that no path leads anywhere else.
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vila_ros.errors import InvalidRequest, VilaError

_log = logging.getLogger("vila_ros.web")

HOST = "127.0.0.1"
MAX_BODY_BYTES = 2 << 20
_NAMES = frozenset(("127.0.0.1", "localhost"))
_TIMEOUT = 30.0  # seconds that a connection may be idle
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Query:
    """A request to an API. parameters: of the address. body: the JSON value of a POST."""

    parameters: Mapping[str, str]
    body: Any = None

    def need(self, name: str) -> str:
        """A parameter that must be there. Raises InvalidRequest."""
        if name not in self.parameters:
            raise InvalidRequest(f"the parameter {name!r} is missing")
        return self.parameters[name]


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent back. seconds: how long a browser may keep it; 0 is not at all."""

    content: bytes
    type: str = "application/json"
    status: int = 200
    seconds: int = 0


def json_reply(value: Any, status: int = 200) -> Reply:
    """A value as JSON."""
    return Reply(json.dumps(value, ensure_ascii=False).encode(), status=status)


Call = Callable[[Query], Reply]


@dataclass(frozen=True)
class Site:
    """What a server serves below its token.

    pages: a folder whose files are served by their names, "index.html" also by none. get, post: API
    calls by their path, such as "api/queue". A call raises VilaError for what its user did wrong.
    """

    pages: Path
    get: Mapping[str, Call] = field(default_factory=dict)
    post: Mapping[str, Call] = field(default_factory=dict)


class LocalServer:
    """Serves a site until it is closed. Raises InvalidRequest for a port that cannot be had."""

    def __init__(self, site: Site, port: int = 0, token: str | None = None) -> None:
        """port: 0 takes a free one. token: random if None."""
        if not 0 <= port <= 65535:
            raise InvalidRequest(f"the port is {port}; it must be 0 (any) to 65535")
        self.token = token or secrets.token_urlsafe(24)
        handler = _handler(site, _read_pages(site.pages), self.token)
        try:
            self._server = _Server((HOST, port), handler)
        except OSError as error:
            raise InvalidRequest(
                f"port {port} cannot be had: {error.strerror}. Name another with --port."
            ) from error

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The address to open in a browser; whoever has it may do everything."""
        return f"http://{HOST}:{self.port}/{self.token}/"

    def serve(self) -> None:
        """Serve until close() is called from another thread, or an interrupt."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Stop serving; connections that are kept open end as well."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_connections()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Another process must not take the port over while this one has it.
    allow_reuse_port = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.discard(request)

    def end_connections(self) -> None:
        """End those that browsers keep open for their next request."""
        for connection in list(self._connections):
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("connection ended", exc_info=True)


def _read_pages(folder: Path) -> dict[str, Reply]:
    pages = {
        file.relative_to(folder).as_posix(): Reply(file.read_bytes(), _TYPES[file.suffix])
        for file in sorted(folder.rglob("*"))
        if file.suffix in _TYPES and file.is_file()
    }
    pages[""] = pages["index.html"]
    return pages


class _Refused(Exception):
    """A request that is not served, with its status."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def _handler(site: Site, pages: Mapping[str, Reply], token: str) -> type[BaseHTTPRequestHandler]:
    """The class of the requests' handlers, which know what they serve."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version, sys_version = "vila", ""
        timeout = _TIMEOUT

        def setup(self) -> None:
            super().setup()
            # Replies are sent as two pieces; without this the second waits for the client.
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def do_GET(self) -> None:
            self._serve(self._get)

        def do_HEAD(self) -> None:
            self._serve(self._get)

        def do_POST(self) -> None:
            self._serve(self._post)

        def _get(self, path: str, parameters: Mapping[str, str]) -> Reply:
            if path in site.get:
                return site.get[path](Query(parameters))
            if path not in pages:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")
            return pages[path]

        def _post(self, path: str, parameters: Mapping[str, str]) -> Reply:
            body = self._body()
            if path not in site.post:
                raise _Refused(HTTPStatus.NOT_FOUND, "there is no such call")
            return site.post[path](Query(parameters, body))

        def _serve(self, answer: Callable[[str, Mapping[str, str]], Reply]) -> None:
            try:
                self._check_origin()
                reply = answer(*self._split_path())
            except _Refused as refusal:
                # What was not read of the body would be taken for the next request.
                self.close_connection = True
                reply = json_reply({"error": str(refusal)}, refusal.status)
            except VilaError as error:
                reply = json_reply({"error": error.message}, HTTPStatus.BAD_REQUEST)
            except Exception:
                _log.exception("%s failed", self.path.partition("?")[0].rpartition("/")[2])
                reply = json_reply(
                    {"error": "This failed by a defect; the log has it."},
                    HTTPStatus.INTERNAL_SERVER_ERROR,
                )
            self._send(reply)

        def _check_origin(self) -> None:
            """Refuse what another site's page, or another name for this machine, asks for."""
            host = self.headers.get("Host", "")
            if host.rpartition(":")[0] not in _NAMES and host not in _NAMES:
                raise _Refused(HTTPStatus.FORBIDDEN, "this page is for this machine alone")
            origin = self.headers.get("Origin")
            if origin is not None and origin != f"http://{host}":
                raise _Refused(HTTPStatus.FORBIDDEN, "this page is not for other sites")
            if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
                raise _Refused(HTTPStatus.FORBIDDEN, "this page is not for other sites")

        def _split_path(self) -> tuple[str, Mapping[str, str]]:
            """The path behind the token and the parameters."""
            address = urlsplit(self.path)
            given, slash, path = address.path.removeprefix("/").partition("/")
            if not slash or not hmac.compare_digest(given.encode(), token.encode()):
                raise _Refused(
                    HTTPStatus.NOT_FOUND, "open the whole address that the program has printed"
                )
            try:
                return path, dict(parse_qsl(address.query, max_num_fields=20, errors="strict"))
            except ValueError as error:
                raise _Refused(HTTPStatus.BAD_REQUEST, f"the address is wrong: {error}") from None

        def _body(self) -> Any:
            """The JSON value of a POST; its type keeps out the forms of other sites."""
            kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
            if kind != "application/json":
                raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise _Refused(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
            if int(length) > MAX_BODY_BYTES:
                raise _Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has {length} bytes; at most {MAX_BODY_BYTES}",
                )
            try:
                return json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError):
                raise _Refused(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in _SECURITY.items():
                self.send_header(name, value)
            kept = f"private, max-age={reply.seconds}" if reply.seconds else "no-store"
            self.send_header("Cache-Control", kept)
            self.send_header("Content-Type", reply.type)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the address has the token in it."""

    return Handler
