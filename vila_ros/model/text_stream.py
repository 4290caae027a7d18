# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tokens into text as they come: whole code points, right spaces, no piece of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"
"""What tokenizers decode an incomplete UTF-8 sequence to."""


class Detokenizer:
    """Text of an answer, piece by piece; the pieces together are the decoded answer.

    A token's text depends on its neighbours (sentencepiece drops the first space, byte tokens make
    one character out of several), so new tokens are decoded together with those of the last piece,
    and text that ends in an incomplete character waits for the next token.

    decode: token ids -> text, without special tokens.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []  # those of the last piece, then those not yet given out
        self._given = 0  # how many of them belong to the last piece

    def add(self, token: int) -> str:
        """The text that is certain once `token` has come; often of earlier tokens too."""
        self._tokens.append(token)
        text = self._new_text()
        if not text or text.endswith(REPLACEMENT):
            return ""
        del self._tokens[: self._given]
        self._given = len(self._tokens)
        return text

    def finish(self) -> str:
        """The text still held back at the end of the answer."""
        text = self._new_text()
        self._given = len(self._tokens)
        return text

    def _new_text(self) -> str:
        before = self._decode(self._tokens[: self._given]) if self._given else ""
        return self._decode(self._tokens)[len(before) :]


class StopStrings:
    """Holds back text that may become a stop string, and ends the answer in front of one.

    stops: non-empty strings; none of them, nor a part of one, is ever given out as its beginning.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def add(self, text: str) -> str:
        """What may be given out; `stopped` tells whether a stop string has come."""
        if not self._stops:
            return text
        held = self._held + text
        found = [at for at in (held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return held[: min(found)]
        keep = max(self._overlap(held, stop) for stop in self._stops)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """The text still held back at the end of the answer."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of text that begins stop."""
        longest = min(len(text), len(stop) - 1)
        return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
