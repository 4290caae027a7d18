# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The options of the runtime openai_http, checked before anything is sent."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vila_ros.engine.http_connection import ServerUrl, parse_server_url
from vila_ros.engine.openai_dialect import KINDS
from vila_ros.engine.openai_images import ImageEncoding
from vila_ros.engine.openai_requests import PromptStyle
from vila_ros.errors import EngineFailed, InvalidRequest


@dataclass(frozen=True)
class HttpOptions:
    """Where the servers are and how they are asked. Times are in seconds.

    servers: URLs of the API, such as "http://gpu-box:8000/v1"; all serve the same model.
    api_key_env: the environment variable that holds the key; empty for servers without one.
    ca_file: PEM file of a private certificate authority; empty for the system's.
    kind: what the servers are, a key of openai_dialect.KINDS, or "auto".

    image_format: "jpeg" or "png" (lossless, larger). jpeg_quality: 1 to 100. max_image_side: the
        longer side in pixels to which images are shrunk; 0 sends them as they are.
    image_cache_bytes: encoded images kept for further questions.
    forward_bytes: the largest image file that is sent on as it came, if it need not be shrunk (a
        JPEG, and a PNG where image_format is png); 0 encodes every image anew.
    single_turn: everything in one message, for templates that drop roles (llava_llama).
    video: "frames" sends a clip as images, "video_url" as one clip (vLLM).

    vision: whether the model sees images; None finds out. max_images: images a question may hold.
    tokens_per_image, context_length: 0 takes what the server tells or what was measured.
    max_concurrency: questions under way at once over all servers; further ones wait.

    retries: further attempts for one question while nothing of an answer has been given out.
    connect_timeout: for a connection. first_token_timeout: from a connection to the first token.
    stall_timeout: between tokens. load_timeout: at start, until a server is well, and once more
        until one has generated a token.
    check_interval, check_timeout: how often servers are checked, and how long one may take.
    """

    servers: tuple[str, ...] = ()
    api_key_env: str = ""
    ca_file: str = ""
    kind: str = "auto"
    image_format: str = "jpeg"
    jpeg_quality: int = 90
    max_image_side: int = 0
    image_cache_bytes: int = 64 * 1024**2
    forward_bytes: int = 4 * 1024**2
    single_turn: bool = False
    video: str = "frames"
    vision: bool | None = None
    max_images: int = 16
    tokens_per_image: int = 0
    context_length: int = 0
    max_concurrency: int = 16
    retries: int = 4
    connect_timeout: float = 5.0
    first_token_timeout: float = 60.0
    stall_timeout: float = 30.0
    load_timeout: float = 60.0
    check_interval: float = 5.0
    check_timeout: float = 5.0

    def __post_init__(self) -> None:
        if not self.servers:
            raise InvalidRequest(
                'No server is named; set the option servers, such as ["http://gpu-box:8000/v1"].'
            )
        if self.kind != "auto" and self.kind not in KINDS:
            known = ", ".join(["auto", *KINDS])
            raise InvalidRequest(f"kind is {self.kind!r}; it must be one of {known}.")
        if self.video not in ("frames", "video_url"):
            raise InvalidRequest(f"video is {self.video!r}; it must be frames or video_url.")
        for name in ("max_images", "max_concurrency"):
            if getattr(self, name) < 1:
                raise InvalidRequest(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("tokens_per_image", "context_length", "retries"):
            if getattr(self, name) < 0:
                raise InvalidRequest(f"{name} is {getattr(self, name)}; it must not be negative.")
        for field in fields(self):
            if field.name.endswith(("_timeout", "_interval")) and getattr(self, field.name) <= 0:
                raise InvalidRequest(
                    f"{field.name} is {getattr(self, field.name)}; it must be above 0 seconds."
                )
        self.urls()
        self.encoding()

    def urls(self) -> tuple[ServerUrl, ...]:
        """The servers' URLs; raises InvalidRequest for one that is none or named twice."""
        urls = tuple(parse_server_url(server) for server in self.servers)
        twice = {str(url) for url in urls if urls.count(url) > 1}
        if twice:
            raise InvalidRequest(f"Named twice in servers: {', '.join(sorted(twice))}.")
        return urls

    def encoding(self) -> ImageEncoding:
        """How images travel; raises InvalidRequest."""
        return ImageEncoding(
            self.image_format,
            self.jpeg_quality,
            self.max_image_side,
            self.image_cache_bytes,
            self.forward_bytes,
        )

    def style(self) -> PromptStyle:
        """How messages are written."""
        return PromptStyle(self.single_turn, self.video == "video_url")

    def tls(self) -> ssl.SSLContext | None:
        """How certificates are verified; None where no server is asked over https."""
        if not any(url.secure for url in self.urls()):
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise InvalidRequest(
                f"ca_file {self.ca_file!r} cannot be used ({error}); it must be a PEM file."
            ) from None

    def key(self) -> str:
        """The key from the environment; empty where none is configured.

        Raises EngineFailed, never with the key in its message.
        """
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise EngineFailed(
                f"The environment variable {self.api_key_env} is not set; it must hold the key of "
                "the servers. Set it where the node is started."
            )
        if not all("!" <= character <= "~" for character in key):
            raise EngineFailed(
                f"The environment variable {self.api_key_env} holds characters that no key has; "
                "only printable ASCII without spaces can be sent."
            )
        return key


def options_of(given: Mapping[str, Any]) -> HttpOptions:
    """The options of plain values, as they come from a parameter file; raises InvalidRequest."""
    defaults = {field.name: field.default for field in fields(HttpOptions)}
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise InvalidRequest(
            f"openai_http has no option {', '.join(unknown)}; it has {', '.join(defaults)}."
        )
    values = dict(given)
    servers = values.get("servers", ())
    values["servers"] = (servers,) if isinstance(servers, str) else tuple(servers)
    for name, value in values.items():
        _check_type(name, value, defaults[name])
    return HttpOptions(**values)


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raise InvalidRequest unless the value is of its default's type; whole numbers are floats."""
    if name == "servers":
        right = all(isinstance(server, str) for server in value)
    elif name == "vision":
        right = value is None or isinstance(value, bool)
    elif isinstance(default, bool) or not isinstance(default, int | float):
        right = isinstance(value, type(default))
    else:
        numbers = int if isinstance(default, int) else int | float
        right = isinstance(value, numbers) and not isinstance(value, bool)
    if not right:
        wanted = "texts" if name == "servers" else type(default).__name__
        raise InvalidRequest(f"Option {name} is {value!r}; it must be {wanted}.")
