# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model hub on loopback that serves one folder, and can break a download off in the middle."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves folder as repository.

    break_at: a file name -> byte after which each of its downloads ends. gets: (path, first byte)
    of every file asked for.
    """

    daemon_threads = True

    def __init__(self, folder: Path, repository: str):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder = folder
        self.repository = repository
        self.break_at: dict[str, int] = {}
        self.gets: list[tuple[str, int]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self) -> list[str]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(path.relative_to(self.folder).as_posix() for path in paths)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that stops reading is no error of this server."""


class HubHandler(BaseHTTPRequestHandler):
    """The part of the hub's protocol that fetching a snapshot needs."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(urlparse(self.path).path).lstrip("/")
        repository = self.server.repository
        api = f"api/models/{repository}"
        if path.startswith(f"{api}/tree/"):
            self.send_json(
                [
                    {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                    for name in self.server.files()
                    for size in [(self.server.folder / name).stat().st_size]
                ]
            )
        elif path == api or path in (f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
            names = [{"rfilename": name} for name in self.server.files()]
            self.send_json({"id": repository, "sha": COMMIT, "siblings": names})
        elif path.startswith(f"{repository}/resolve/{COMMIT}/"):
            self.send_file(path.removeprefix(f"{repository}/resolve/{COMMIT}/"), body)
        else:
            self.send_missing()

    def send_json(self, data: object) -> None:
        content = json.dumps(data).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def send_missing(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RevisionNotFound")
        self.send_header("X-Error-Message", "no such revision")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_file(self, name: str, body: bool) -> None:
        content = (self.server.folder / name).read_bytes()
        first = 0
        if wanted := self.headers.get("Range"):
            first = int(wanted.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if wanted else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - first))
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not body:
            return
        self.server.gets.append((name, first))
        end = self.server.break_at.get(name, len(content))
        self.wfile.write(content[first : max(first, end)])
        if end < len(content):
            self.wfile.flush()
            self.close_connection = True


@contextmanager
def serve_hub(folder: Path, repository: str = "owner/model") -> Iterator[HubServer]:
    """The server, running until the block ends."""
    server = HubServer(folder, repository)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
