# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's side of a request: what has arrived from the worker, and the iterator over it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator

from vila_ros.engine.interface import Stage, TextChunk
from vila_ros.errors import Cancelled, DeadlineExceeded, VilaError


class Reply:
    """Collects what arrives for one request, from any thread; ReplyStream hands it out.

    deadline: time.monotonic() after which the asker waits no more; None for none.
    """

    def __init__(self, request_id: str, deadline: float | None) -> None:
        self.request_id = request_id
        self.deadline = deadline
        self.stage = Stage.QUEUED
        self.tokens = 0
        self.dropped = False
        # None wakes the asker of a reply that was dropped.
        self._inbox: queue.SimpleQueue[TextChunk | VilaError | None] = queue.SimpleQueue()

    def deliver(self, chunk: TextChunk) -> None:
        """Add the next chunk."""
        self.stage = chunk.stage
        self.tokens = chunk.tokens
        self._inbox.put(chunk)

    def fail(self, error: VilaError) -> None:
        """End with an error, behind the chunks that came before it."""
        self._inbox.put(error)

    def drop(self) -> None:
        """Nobody wants the rest: the asker gets Cancelled before anything that still waits."""
        self.dropped = True
        self._inbox.put(None)

    def next(self) -> TextChunk:
        """Wait for the next chunk; raises the error the reply ends with."""
        try:
            item = self._inbox.get(timeout=self._patience())
        except queue.Empty:
            raise DeadlineExceeded(
                f"The answer was not complete at its deadline; {self.tokens} tokens were generated "
                "until then."
            ) from None
        if item is None or self.dropped:
            raise Cancelled(f"The request '{self.request_id}' was cancelled.")
        if isinstance(item, VilaError):
            raise item
        return item

    def _patience(self) -> float | None:
        """Seconds until the deadline; what has arrived by then is still handed out."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)


def copy_of(error: VilaError) -> VilaError:
    """The same error anew: raising one object in many threads would mix their tracebacks up."""
    return type(error)(error.message)


class ReplyStream(Iterator[TextChunk]):
    """Iterates over a reply as a generator would; closing or losing it drops the request.

    The iterator belongs to one thread. It is an object of its own, besides the Reply that the
    engine's threads hold, so that an asker who just lets go of it ends the request too.
    """

    def __init__(self, reply: Reply, drop: Callable[[Reply], None]) -> None:
        self._reply = reply
        self._drop = drop
        self._over = False

    def __next__(self) -> TextChunk:
        if self._over:
            raise StopIteration
        try:
            chunk = self._reply.next()
        except VilaError:
            self.close()
            raise
        if chunk.finish_reason is not None:
            self._over = True
        return chunk

    def close(self) -> None:
        """End the request unless it has ended."""
        if not self._over:
            self._over = True
            self._drop(self._reply)

    def __del__(self) -> None:
        self.close()
