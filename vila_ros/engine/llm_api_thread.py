# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One request inside TensorRT-LLM's LLM API, read without ever waiting longer than a poll.

The runtime's results can be waited for by result(timeout), which ignores its timeout in some
releases, by an event loop, which encoding images would block, or by plain iteration, which blocks
until the next token. Here a thread iterates, and the reader polls what it brings.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from vila_ros.engine.answer_text import Account
from vila_ros.engine.in_flight import Ticket
from vila_ros.engine.interface import FinishReason, TextChunk
from vila_ros.engine.runtime_errors import runtime_error
from vila_ros.errors import Cancelled, DeadlineExceeded, VilaError
from vila_ros.model.text_stream import REPLACEMENT, StopStrings

POLL_SECONDS = 0.02
"""How long the runtime is waited for before cancellation and deadline are looked at again."""
_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class RuntimeThread:
    """One request inside the runtime, on a thread of its own."""

    def __init__(
        self,
        llm: Any,
        inputs: dict[str, Any],
        sampling: Any,
        vision: threading.Lock,
        free: threading.Semaphore,
    ) -> None:
        self.outputs: queue.SimpleQueue[tuple[str, int, str | None] | VilaError | None]
        self.outputs = queue.SimpleQueue()
        self.prompt_tokens = 0
        self._lock = threading.Lock()
        self._result: Any = None
        self._aborted = False
        self._over = False
        self._thread = threading.Thread(
            target=self._run, args=(llm, inputs, sampling, vision, free), daemon=True
        )
        self._thread.start()

    def abort(self) -> None:
        """End it inside the runtime, unless it has ended."""
        with self._lock:
            self._aborted = True
            if self._result is not None and not self._over:
                self._result.abort()

    def _run(
        self,
        llm: Any,
        inputs: dict[str, Any],
        sampling: Any,
        vision: threading.Lock,
        free: threading.Semaphore,
    ) -> None:
        """Hand the request in and pass on what comes; puts an error, or None, as the last."""
        doing = "encoding images"
        try:
            with vision:
                if self._aborted:
                    return
                result = llm.generate_async(inputs=inputs, sampling_params=sampling, streaming=True)
            doing = "generating"
            with self._lock:
                self._result = result
                if self._aborted:
                    result.abort()
            self.prompt_tokens = len(result.prompt_token_ids)
            for step in result:
                output = step.outputs[0]
                self.outputs.put((output.text, len(output.token_ids), output.finish_reason))
        except VilaError as error:
            self.outputs.put(error)
        except Exception as error:
            # A thread's exception reaches nobody, and the runtime has types of its own.
            self.outputs.put(runtime_error(f"{type(error).__name__}: {error}", doing))
        finally:
            with self._lock:
                self._over = True
            free.release()
            self.outputs.put(None)


def read_answer(work: RuntimeThread, ticket: Ticket, account: Account) -> Iterator[TextChunk]:
    """Chunks of a generation; raises the errors of Engine.generate."""
    stops = StopStrings(ticket.request.stop)
    taken, reason = 0, None
    while reason is None:
        ticket.check()
        try:
            output = work.outputs.get(timeout=max(ticket.seconds_left(POLL_SECONDS), 0.001))
        except queue.Empty:
            continue
        if isinstance(output, VilaError):
            raise output
        if output is None:
            raise Cancelled("The runtime ended the request before its answer was complete.")
        whole, account.completion_tokens, said = output
        account.first_token_at = account.first_token_at or time.monotonic()
        account.prompt_tokens = work.prompt_tokens
        # A character that is still incomplete waits for its next token.
        ready = len(whole) if said else len(whole.rstrip(REPLACEMENT))
        text, taken = stops.add(whole[taken:ready]), max(taken, ready)
        if stops.stopped:
            reason = FinishReason.STOP
        elif said == "timeout":
            raise DeadlineExceeded("The runtime ended the request at its time limit.")
        elif said == "cancelled":
            raise Cancelled("The runtime cancelled the request.")
        elif said is not None:
            reason = _REASONS.get(said, FinishReason.STOP)
            text += stops.finish()
        yield TextChunk(
            text=text,
            tokens=account.completion_tokens,
            finish_reason=reason,
            stats=account.stats() if reason is not None else None,
        )
