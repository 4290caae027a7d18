# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a server's refusals mean: one clear error each, and whether another attempt may help."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from vila_ros.engine.openai_stream import message_of
from vila_ros.errors import (
    EngineDown,
    EngineFailed,
    InvalidRequest,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
    TooManyFrames,
    Unsupported,
    VilaError,
)

MAX_ERROR_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 300

_NO_VISION = re.compile(
    r"not a multi-?modal model|at most 0 (image|video)|"
    r"\b(images?|image_url|vision|multi-?modal)\b[^.\n]{0,60}(\bnot\b|n't|only)( be)? "
    r"(support|accept|allow|enabled|available)|"
    r"(\bnot|n't|cannot|un)[ -]?(support|accept|process|handle)[^.\n]{0,40}"
    r"\b(images?|image_url|vision|multi-?modal)\b",
    re.IGNORECASE,
)
_TOO_MANY_IMAGES = re.compile(
    r"at most [1-9]\d* (image|video)|too many (images|videos|multi-?modal)|"
    r"number of (images|videos|multi-?modal)[^.\n]{0,60}exceed",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (model|sequence|prompt|input|context) length|"
    r"max_?(model|seq|sequence|input|num)_?(len|length|tokens)|prompt (is )?too long|"
    r"exceeds?[^.\n]{0,60}(tokens|context|length)|longer than the maximum",
    re.IGNORECASE,
)
_OUT_OF_MEMORY = re.compile(r"out of memory|\boom\b", re.IGNORECASE)


class Trouble(Exception):
    """An attempt at one server failed.

    error: what the user gets when nothing else helps. retry: another attempt may help. down: the
    server is to be avoided until it answers again. retry_after: seconds the server asked to wait.
    """

    def __init__(
        self, error: VilaError, *, retry: bool, down: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry = retry
        self.down = down
        self.retry_after = retry_after


class Refusal(Trouble):
    """The server refused the form of the request; said: its reason."""

    def __init__(self, error: VilaError, said: str) -> None:
        super().__init__(error, retry=False)
        self.said = said


@dataclass(frozen=True)
class Asked:
    """Which server was asked for which model. key is never shown, even if the server repeats it."""

    server: str
    model: str
    key: str = ""

    def shown(self, text: str) -> str:
        """Text of the server, made fit for a message: quoted, one line, short, without the key."""
        if self.key:
            text = text.replace(self.key, "…")
        text = " ".join(text.split())
        text = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        return f'"{text}"' if text else ""


def trouble_of_response(
    status: int, headers: Mapping[str, str], body: bytes, asked: Asked
) -> Trouble:
    """What an answer other than a success means. body: its beginning."""
    said = said_by(body)
    shown = asked.shown(said)
    because = f": {shown}." if shown else "."
    name = f"Server {asked.server}"
    about_prompt = trouble_of_prompt(said, asked)
    if status == 429 or status >= 500:
        if status in (500, 501) and about_prompt is not None:
            return about_prompt
        return _temporary(status, headers, name, because, said)
    if 300 <= status < 400:
        target = asked.shown(headers.get("location", "")) or "nowhere"
        return Trouble(
            EngineFailed(
                f"{name} redirects to {target} (HTTP {status}); redirects are not followed. Put "
                "the API's own URL into servers."
            ),
            retry=False,
            down=True,
        )
    if status in (401, 403):
        problem = "the key is missing, wrong or expired" if asked.key else "it wants a key"
        fix = (
            "renew it in the environment variable that api_key_env names, and restart the node."
            if asked.key
            else "name the environment variable that holds it in api_key_env."
        )
        return Trouble(
            EngineFailed(f"{name} refused access (HTTP {status}{because[:-1]}): {problem}; {fix}"),
            retry=False,
            down=True,
        )
    if is_web_page(headers, body):
        return web_page(asked)
    if status in (404, 405):
        return _not_found(status, name, asked, shown)
    if status == 413:
        return Trouble(
            InvalidRequest(
                f"{name} finds the request too large (HTTP 413); send fewer frames, or lower "
                "max_image_side, jpeg_quality or forward_bytes."
            ),
            retry=False,
        )
    if status == 408:
        return Trouble(EngineDown(f"{name} timed out (HTTP 408{because[:-1]})."), retry=True)
    return about_prompt or Refusal(
        InvalidRequest(f"{name} refused the request (HTTP {status}){because}"), said
    )


def trouble_of_prompt(said: str, asked: Asked) -> Trouble | None:
    """What a server's words about the prompt mean; None if they are about something else."""
    shown = asked.shown(said)
    name = f"Server {asked.server}"
    if _TOO_MANY_IMAGES.search(said):
        return Trouble(
            TooManyFrames(
                f"{name} takes fewer images than were sent: {shown}. Ask with fewer frames, and "
                "set max_images to the server's limit."
            ),
            retry=False,
        )
    if _NO_VISION.search(said):
        return Trouble(
            Unsupported(
                f"Model {asked.model!r} of server {asked.server} takes no images: {shown}. Serve a "
                "model with vision."
            ),
            retry=False,
        )
    if _TOO_LONG.search(said):
        return Trouble(
            PromptTooLong(
                f"{name} finds the prompt too long: {shown}. Ask with fewer frames, fewer examples "
                "or a smaller max_tokens."
            ),
            retry=False,
        )
    return None


def trouble_in_stream(said: str, asked: Asked) -> Trouble:
    """What an error that came instead of, or in the middle of, a stream means."""
    about_prompt = trouble_of_prompt(said, asked)
    if about_prompt is not None:
        return about_prompt
    error = OutOfMemory if _OUT_OF_MEMORY.search(said) else EngineFailed
    reason = asked.shown(said) or "it gave no reason"
    message = f"Server {asked.server} failed while it answered: {reason}."
    return Trouble(error(message), retry=True)


def web_page(asked: Asked) -> Trouble:
    """The trouble of an answer that is a page for people."""
    return Trouble(
        EngineFailed(
            f"Server {asked.server} answered with a web page, not with the API; check the URL in "
            "servers, which most often ends in /v1, and that no login page is in between."
        ),
        retry=False,
        down=True,
    )


def is_web_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer is HTML."""
    kind = headers.get("content-type", "").lower()
    return "text/html" in kind or body.lstrip()[:15].lower().startswith((b"<!doctype", b"<html"))


def said_by(body: bytes) -> str:
    """The reason in an error's body; for what is not JSON, its text."""
    text = body.decode("utf-8", "replace")
    try:
        return message_of(json.loads(text))
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, given in seconds or as a date; 0 without one."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return 0.0
    if value.isdigit():
        return float(value[:6])
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if until.tzinfo is None:
        until = until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _temporary(
    status: int, headers: Mapping[str, str], name: str, because: str, said: str
) -> Trouble:
    wait = retry_after_seconds(headers)
    later = f" Try again in {wait:g} s." if wait else ""
    if status == 429:
        error: VilaError = QueueFull(f"{name} has too many requests (HTTP 429){because}{later}")
        return Trouble(error, retry=True, retry_after=wait)
    if _OUT_OF_MEMORY.search(said):
        error = OutOfMemory(f"{name} ran out of memory (HTTP {status}){because}")
    elif status in (502, 503, 504):
        error = EngineDown(f"{name} is not ready (HTTP {status}){because}{later}")
    else:
        error = EngineFailed(f"{name} failed (HTTP {status}){because}")
    return Trouble(error, retry=True, down=status in (502, 503, 504), retry_after=wait)


def _not_found(status: int, name: str, asked: Asked, shown: str) -> Trouble:
    if "model" in shown.lower():
        message = f"{name} does not serve model {asked.model!r} (HTTP {status}): {shown}."
    else:
        message = (
            f"{name} has no chat completions there (HTTP {status}); check the URL in servers, "
            "which most often ends in /v1."
        )
    return Trouble(EngineFailed(message), retry=False, down=True)
