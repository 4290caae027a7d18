# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the C++ executor behaves, the same in every release: requests in, responses out, once each.

It answers a request with the text tokens of its prompt (ids below the vocabulary), one a response,
then ends it. CONTRACT_DELAY: seconds a token takes. CONTRACT_ERROR: every answer ends in this error
after its first token.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from contract_recorder import require


@dataclass
class Running:
    """A request in the executor."""

    tokens: Sequence[int]
    limit: int
    sent: int = 0
    cancelled: bool = False
    over: bool = False
    next_at: float = field(default_factory=time.monotonic)


class Executions:
    """The executor's inside. vocabulary: ids from there on are rows of the prompt table."""

    def __init__(self, vocabulary: int, table_rows: int, max_input: int, max_sequence: int) -> None:
        self.vocabulary = vocabulary
        self.table_rows = table_rows
        self.max_input = max_input
        self.max_sequence = max_sequence
        self.running: dict[int, Running] = {}
        self.is_shut_down = False
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def enqueue(
        self, ids: list[int], limit: int, table: Any, extra_ids: list[int] | None, reuse: bool
    ) -> int:
        """Check as LlmRequest::validate and PromptTuningBuffers::validate do, then take it in."""
        require(not self.is_shut_down, "the executor is shut down")
        require(all(isinstance(token, int) for token in ids), "input_token_ids are integers")
        require(0 < len(ids) <= self.max_input, f"input of {len(ids)} exceeds {self.max_input}")
        require(len(ids) + limit <= self.max_sequence, "input and max tokens exceed max_seq_len")
        beyond = [token - self.vocabulary for token in ids if token >= self.vocabulary]
        rows = 0 if table is None else table.shape[0]
        require(table is None or table.dim() == 2, "embedding_table is [rows, hidden]")
        require(rows <= self.table_rows, f"{rows} rows exceed the table's {self.table_rows}")
        require(max(beyond, default=-1) < rows, "an id names a row that the table does not have")
        if table is not None and reuse:
            require(extra_ids is not None, "KV reuse with a prompt table needs extra ids")
        if extra_ids is not None:
            require(len(extra_ids) == len(ids), "one extra id for each input token")
            require(all(0 <= each < 2**64 for each in extra_ids), "extra ids are unsigned")
        with self._lock:
            number = next(self._ids)
            text = [token for token in ids if token < self.vocabulary]
            self.running[number] = Running(text, limit)
        return number

    def cancel(self, number: int) -> None:
        """The request's next response is its last."""
        with self._lock:
            if number in self.running:
                self.running[number].cancelled = True

    def wait(self, number: int, timeout: timedelta | None) -> list[tuple[list[int], bool, str]]:
        """New tokens, whether they are the last, and why. Blocks for ever where C++ would."""
        require(isinstance(timeout, timedelta), "await_responses(id) without a timeout may hang")
        assert timeout is not None
        until = time.monotonic() + timeout.total_seconds()
        while True:
            with self._lock:
                found = self._step(self.running.get(number))
            if found is not None:
                return [found]
            left = until - time.monotonic()
            if left <= 0:
                return []
            time.sleep(min(left, 0.002))

    def _step(self, request: Running | None) -> tuple[list[int], bool, str] | None:
        if request is None or request.over or time.monotonic() < request.next_at:
            return None
        if request.cancelled:
            request.over = True
            return [], True, "CANCELLED"
        if os.environ.get("CONTRACT_ERROR") and request.sent:
            request.over = True
            return [], True, "ERROR"
        token = request.tokens[request.sent % len(request.tokens)]
        request.sent += 1
        request.next_at = time.monotonic() + float(os.environ.get("CONTRACT_DELAY", "0"))
        if request.sent >= request.limit:
            request.over = True
            return [token], True, "LENGTH"
        if request.sent >= len(request.tokens):
            request.over = True
            return [token], True, "END_ID"
        return [token], False, "NOT_FINISHED"
