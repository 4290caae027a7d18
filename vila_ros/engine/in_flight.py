# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Requests under way in an engine that a foreign runtime serves, and who asked them to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from vila_ros.engine.interface import GenerationRequest, TextChunk
from vila_ros.errors import Cancelled, DeadlineExceeded, EngineDown, InvalidRequest


class Ticket:
    """One request under way: when it came, and whether it must end."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.accepted_at = time.monotonic()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Ask it to end."""
        self._cancelled.set()

    def check(self) -> None:
        """Raise Cancelled or DeadlineExceeded once that is how the request ends."""
        if self._cancelled.is_set():
            raise Cancelled("The request was cancelled.")
        deadline = self.request.deadline
        if deadline is not None and time.monotonic() >= deadline:
            raise DeadlineExceeded("The answer was not complete at its deadline.")

    def seconds_left(self, most: float) -> float:
        """How long to wait for the runtime before check() is due again, seconds."""
        deadline = self.request.deadline
        return most if deadline is None else min(most, max(deadline - time.monotonic(), 0.0))


class InFlight:
    """The requests of one engine; usable from any thread."""

    def __init__(self) -> None:
        self._tickets: dict[str, Ticket] = {}
        self._lock = threading.Condition()
        self._closed = False

    def open(self, request: GenerationRequest) -> Ticket:
        """Take a request in. Raises EngineDown after close(), InvalidRequest for an id in use."""
        with self._lock:
            if self._closed:
                raise EngineDown("The engine is closed.")
            if request.request_id in self._tickets:
                raise InvalidRequest(f"Request id {request.request_id!r} is in flight already.")
            ticket = Ticket(request)
            self._tickets[request.request_id] = ticket
            return ticket

    def end(self, ticket: Ticket) -> None:
        """The request has ended."""
        with self._lock:
            self._tickets.pop(ticket.request.request_id, None)
            self._lock.notify_all()

    def cancel(self, request_id: str) -> None:
        """Ask a request to end; unknown ids are ignored."""
        with self._lock:
            ticket = self._tickets.get(request_id)
        if ticket is not None:
            ticket.cancel()

    def close(self, patience: float) -> None:
        """Take no more requests, ask all to end, and wait that many seconds until they have."""
        with self._lock:
            self._closed = True
            for ticket in self._tickets.values():
                ticket.cancel()
            self._lock.wait_for(lambda: not self._tickets, timeout=patience)


class TicketStream(Iterator[TextChunk]):
    """A generator of chunks whose request ends with it, even if it was never begun."""

    def __init__(self, chunks: Iterator[TextChunk], ticket: Ticket, in_flight: InFlight) -> None:
        self._chunks = chunks
        self._ticket = ticket
        self._in_flight = in_flight

    def __next__(self) -> TextChunk:
        try:
            return next(self._chunks)
        except BaseException:
            self._in_flight.end(self._ticket)
            raise

    def close(self) -> None:
        """End the request early."""
        try:
            self._chunks.close()  # type: ignore[attr-defined]
        finally:
            self._in_flight.end(self._ticket)

    def __del__(self) -> None:
        self.close()
