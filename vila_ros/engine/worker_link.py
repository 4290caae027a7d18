# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's end of one worker, from its start to its end: requests out, replies in.

Three threads meet here and none waits for the worker but its own: askers put requests into an
outbox, a writer sends them (and alone blocks when the worker does not read), a reader takes what
the worker sends. The supervisor's thread asks at every tick whether the worker is overdue.
"""

from __future__ import annotations

import itertools
import queue
import threading
from dataclasses import dataclass, field
from typing import Any

from vila_ros.engine.codec import (
    decode_capabilities,
    decode_chunk,
    decode_error,
    encode_request,
    encode_spec,
    take,
)
from vila_ros.engine.interface import Capabilities, EngineSpec, GenerationRequest, Stage
from vila_ros.engine.reply import Reply, copy_of
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.wire import Connection, Kind, ProtocolError, WireMessage
from vila_ros.engine.worker_process import WorkerProcess
from vila_ros.errors import EngineDown, InvalidRequest, QueueFull, VilaError


@dataclass(frozen=True)
class Loaded:
    """The worker can answer."""

    capabilities: Capabilities


@dataclass(frozen=True)
class LoadFailed:
    """The worker could not load; error: why."""

    error: VilaError


@dataclass(frozen=True)
class HungUp:
    """The connection has ended; error: what was wrong with it, None if it was just closed."""

    error: ProtocolError | None


WorkerEvent = Loaded | LoadFailed | HungUp


@dataclass(frozen=True)
class Heartbeat:
    """What the worker last said of itself; bytes, requests, tokens since its start."""

    memory_bytes: int = 0
    device_memory_bytes: int = 0
    in_flight: int = 0
    tokens: int = 0


@dataclass
class _InFlight:
    """A request the worker has not ended; times on the link's clock."""

    reply: Reply
    moved_at: float
    dropped_at: float | None = None


@dataclass(frozen=True)
class _Outgoing:
    kind: Kind
    fields: dict[str, Any]
    pixels: list[memoryview] = field(default_factory=list)


class WorkerLink:
    """Speaks with one worker; what happens to it goes to `events` as WorkerEvents and None."""

    def __init__(
        self,
        spec: EngineSpec,
        process: WorkerProcess,
        policy: SupervisionPolicy,
        events: queue.SimpleQueue[WorkerEvent | None],
    ) -> None:
        self.process = process
        self.heartbeat = Heartbeat()
        self._policy = policy
        self._events = events
        self._connection = Connection(process.socket)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._in_flight: dict[int, _InFlight] = {}
        self._over: EngineDown | None = None
        self._outbox: queue.SimpleQueue[_Outgoing | None] = queue.SimpleQueue()
        # Seconds the supervisor has watched. A node that was itself stopped (a debugger, a
        # suspended machine) does not hold the time against its worker.
        self._clock = 0.0
        self._heard_at = 0.0
        self._moved_at = 0.0
        start = {
            "spec": encode_spec(spec),
            "heartbeat_interval": policy.heartbeat_interval,
            "max_requests": policy.max_requests,
        }
        self._outbox.put(_Outgoing(Kind.START, start))
        self._threads = [
            threading.Thread(target=run, name=f"worker {name}", daemon=True)
            for name, run in (("reader", self._read), ("writer", self._write))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Requests that somebody waits for."""
        with self._lock:
            return sum(not waiting.reply.dropped for waiting in self._in_flight.values())

    def submit(self, request: GenerationRequest, reply: Reply) -> int:
        """Send a request, whose pixels must not change from now on; returns its number.

        Raises InvalidImage, InvalidRequest (its id is in flight already), QueueFull, or EngineDown
        when the worker has just ended.
        """
        number = next(self._numbers)
        fields, pixels = encode_request(request, number)
        with self._lock:
            if self._over is not None:
                raise copy_of(self._over)
            if len(self._in_flight) >= self._policy.max_requests:
                raise QueueFull(
                    f"{len(self._in_flight)} requests are in the engine, at most "
                    f"{self._policy.max_requests} may be; ask again when one has ended."
                )
            if any(
                waiting.reply.request_id == request.request_id and not waiting.reply.dropped
                for waiting in self._in_flight.values()
            ):
                raise InvalidRequest(
                    f"The request_id '{request.request_id}' is in flight already; give each "
                    "request one of its own."
                )
            if not self._in_flight:
                self._moved_at = self._clock
            self._in_flight[number] = _InFlight(reply, self._clock)
            self._outbox.put(_Outgoing(Kind.REQUEST, fields, pixels))
        return number

    def drop(self, number: int, reply: Reply) -> None:
        """Nobody waits for this request any more: end it here at once, and in the worker.

        Takes no lock, because destructors call it wherever they happen to run.
        """
        reply.drop()
        if number in self._in_flight:
            self._outbox.put(_Outgoing(Kind.CANCEL, {"number": number}))

    def cancel(self, request_id: str) -> None:
        """Drop the requests of that id."""
        with self._lock:
            found = [
                (number, waiting.reply)
                for number, waiting in self._in_flight.items()
                if waiting.reply.request_id == request_id and not waiting.reply.dropped
            ]
        for number, reply in found:
            self.drop(number, reply)

    def end(self, error: VilaError) -> None:
        """Fail every request in flight; later ones are refused."""
        with self._lock:
            self._over = EngineDown(error.message)
            replies = [waiting.reply for waiting in self._in_flight.values()]
            self._in_flight.clear()
        for reply in replies:
            reply.fail(copy_of(error))

    def close(self) -> None:
        """Release the threads and the socket of a worker that has ended."""
        self._outbox.put(None)
        self._connection.close()
        for thread in self._threads:
            thread.join()

    def overdue(self, elapsed: float, loaded: bool) -> str | None:
        """Let the clock go on; says why the worker counts as hung, if it does.

        elapsed: seconds since the last call. loaded: whether it can answer already.
        """
        policy = self._policy
        self._clock += elapsed
        if not loaded:
            self._heard_at = self._clock
            if self._clock <= policy.load_timeout:
                return None
            return f"The engine's worker had not loaded after {policy.load_timeout:g} s."
        if self._clock - self._heard_at > policy.heartbeat_timeout:
            return f"The engine's worker gave no sign of life for {policy.heartbeat_timeout:g} s."
        with self._lock:
            stalled = self._stalled()
        if stalled is None:
            return None
        return f"The engine's worker {stalled} for {policy.stall_timeout:g} s."

    def _stalled(self) -> str | None:
        longest_ago = self._clock - self._policy.stall_timeout
        for waiting in self._in_flight.values():
            name = waiting.reply.request_id
            if waiting.reply.dropped:
                if waiting.dropped_at is None:
                    waiting.dropped_at = self._clock
                if waiting.dropped_at < longest_ago:
                    return f"did not end the cancelled request '{name}'"
            elif waiting.reply.stage is not Stage.QUEUED and waiting.moved_at < longest_ago:
                return f"made no progress with the request '{name}'"
        if self._in_flight and self._moved_at < longest_ago:
            return "made no progress with any request"
        return None

    def _read(self) -> None:
        error: ProtocolError | None = None
        try:
            while (message := self._connection.receive()) is not None:
                self._heard_at = self._clock
                self._handle(message)
        except ProtocolError as broken:
            error = broken
        except OSError:
            # close() has taken the socket away, after the end of the worker.
            pass
        self._events.put(HungUp(error))

    def _handle(self, message: WireMessage) -> None:
        fields = message.fields
        if message.kind is Kind.CHUNK:
            self._deliver(fields)
        elif message.kind is Kind.FAILED:
            waiting = self._take_off(take(fields, "number", int))
            if waiting is not None:
                waiting.reply.fail(decode_error(fields))
        elif message.kind is Kind.HEARTBEAT:
            self.heartbeat = Heartbeat(
                **{name: take(fields, name, int) for name in Heartbeat.__dataclass_fields__}
            )
        elif message.kind is Kind.READY:
            self._events.put(Loaded(decode_capabilities(fields)))
        elif message.kind is Kind.LOAD_FAILED:
            self._events.put(LoadFailed(decode_error(fields)))
        elif message.kind is not Kind.HELLO:
            raise ProtocolError(f"A worker does not send {message.kind.name}.")

    def _deliver(self, fields: Any) -> None:
        number = take(fields, "number", int)
        chunk = decode_chunk(fields)
        if chunk.finish_reason is not None:
            waiting = self._take_off(number)
        else:
            with self._lock:
                waiting = self._in_flight.get(number)
                if waiting is not None:
                    waiting.moved_at = self._moved_at = self._clock
        if waiting is not None:
            waiting.reply.deliver(chunk)

    def _take_off(self, number: int) -> _InFlight | None:
        with self._lock:
            self._moved_at = self._clock
            return self._in_flight.pop(number, None)

    def _write(self) -> None:
        while (outgoing := self._outbox.get()) is not None:
            try:
                if not self._is_unwanted(outgoing):
                    self._connection.send(outgoing.kind, outgoing.fields, outgoing.pixels)
            except OSError:
                # The worker has ended; the reader learns of it too and reports it.
                return
            except (ProtocolError, TypeError, ValueError) as error:
                self._refuse(outgoing, error)

    def _is_unwanted(self, outgoing: _Outgoing) -> bool:
        """Whether a request was dropped before it was sent, or a cancel concerns such a one."""
        if outgoing.kind not in (Kind.REQUEST, Kind.CANCEL):
            return False
        number = outgoing.fields["number"]
        with self._lock:
            waiting = self._in_flight.get(number)
            if waiting is None:
                return True
            if outgoing.kind is Kind.REQUEST and waiting.reply.dropped:
                del self._in_flight[number]
                return True
        return False

    def _refuse(self, outgoing: _Outgoing, error: Exception) -> None:
        """Fail a request that cannot be encoded."""
        waiting = self._take_off(outgoing.fields.get("number", 0))
        if waiting is not None:
            waiting.reply.fail(InvalidRequest(f"The request cannot be sent: {error}"))
