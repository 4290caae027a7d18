# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An answer's text and account, from tokens or text that a foreign runtime streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from vila_ros.engine.interface import FinishReason, GenerationRequest, GenerationStats, TextChunk
from vila_ros.errors import InvalidRequest
from vila_ros.model.text_stream import Detokenizer, StopStrings


def check_request(request: GenerationRequest) -> None:
    """Raise InvalidRequest for values that no runtime can follow."""
    if request.max_tokens < 1:
        raise InvalidRequest(f"max_tokens is {request.max_tokens}; it must be at least 1")
    if request.temperature < 0:
        raise InvalidRequest(f"temperature is {request.temperature}; it must be 0 or more")
    if not 0 < request.top_p <= 1:
        raise InvalidRequest(f"top_p is {request.top_p}; it must be in (0, 1]")
    if not request.messages or request.messages[-1].role != "user":
        raise InvalidRequest("the last message must be the user's")
    if request.json_schema is not None and request.choices:
        raise InvalidRequest("json_schema and choices cannot both be given")


@dataclass
class Account:
    """What an answer cost so far; seconds, from the request's acceptance."""

    accepted_at: float
    started_at: float = 0.0
    vision_time: float = 0.0
    first_token_at: float = 0.0
    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0
    images_encoded: int = 0
    images_cached: int = 0

    def stats(self) -> GenerationStats:
        """The account as it stands now."""
        now = time.monotonic()
        first = self.first_token_at or now
        decoding = now - first
        return GenerationStats(
            queue_time=max(self.started_at - self.accepted_at, 0.0),
            vision_time=self.vision_time,
            time_to_first_token=first - self.accepted_at,
            total_time=now - self.accepted_at,
            prompt_tokens=self.prompt_tokens,
            image_tokens=self.image_tokens,
            completion_tokens=self.completion_tokens,
            tokens_per_second=(self.completion_tokens - 1) / decoding
            if self.completion_tokens > 1 and decoding > 0
            else 0.0,
            images_encoded=self.images_encoded,
            images_cached=self.images_cached,
        )


@dataclass
class TokenText:
    """Tokens in, chunks out; `reason` is set once the answer has ended by what it holds.

    decode: token ids -> text without special tokens. stop_token_ids, stop_strings: of the model's
    template and of the request.
    """

    decode: Callable[[Sequence[int]], str]
    stop_token_ids: Sequence[int]
    stop_strings: Sequence[str]
    max_tokens: int
    account: Account
    reason: FinishReason | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._detokenizer = Detokenizer(self.decode)
        self._stops = StopStrings(self.stop_strings)

    def add(self, tokens: Iterable[int]) -> TextChunk:
        """Take new tokens in; those behind the end are left out."""
        text = ""
        for token in tokens:
            if self.reason is not None:
                break
            if not self.account.first_token_at:
                self.account.first_token_at = time.monotonic()
            if token in self.stop_token_ids:
                self.reason = FinishReason.STOP
                break
            self.account.completion_tokens += 1
            text += self._stops.add(self._detokenizer.add(token))
            if self._stops.stopped:
                self.reason = FinishReason.STOP
            elif self.account.completion_tokens >= self.max_tokens:
                self.reason = FinishReason.LENGTH
        return TextChunk(text=text, tokens=self.account.completion_tokens)

    def finish(self, reason: FinishReason) -> TextChunk:
        """The last chunk, with the text held back until now."""
        text = ""
        if not self._stops.stopped:
            text = self._stops.add(self._detokenizer.finish())
        if self._stops.stopped:
            reason = FinishReason.STOP
        else:
            text += self._stops.finish()
        return TextChunk(
            text=text,
            tokens=self.account.completion_tokens,
            finish_reason=reason,
            stats=self.account.stats(),
        )
