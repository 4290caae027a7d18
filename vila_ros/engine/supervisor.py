# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An Engine that runs in another process and comes back when that process dies.

One thread supervises: it starts a worker, watches it, and when it ends (by itself, by a signal, or
killed here because it hangs) fails the requests in flight with EngineDown and starts the next one
after a wait that doubles with every failure in a row.

A request that comes while no worker is ready fails at once with EngineDown, which says the state
and the expected wait: a robot must know now that it gets no answer. Who would rather wait calls
load(), which blocks until the engine is ready, and asks then.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vila_ros.engine.codec import encode_spec
from vila_ros.engine.interface import Capabilities, EngineSpec, GenerationRequest, TextChunk
from vila_ros.engine.reply import Reply, ReplyStream, copy_of
from vila_ros.engine.supervision import (
    Backoff,
    EngineState,
    EngineStatus,
    SupervisionPolicy,
    TokenRate,
)
from vila_ros.engine.wire import VersionMismatch
from vila_ros.engine.worker_link import HungUp, Loaded, LoadFailed, WorkerEvent, WorkerLink
from vila_ros.engine.worker_process import WorkerProcess, WorkerStuck, resolve_interpreter
from vila_ros.errors import (
    Cancelled,
    EngineDown,
    EngineFailed,
    InvalidCheckpoint,
    InvalidRequest,
    Unsupported,
    VilaError,
)

logger = logging.getLogger(__name__)

# Loads that fail so fail again, until somebody changes a file or a setting, or frees the device.
LASTING = (InvalidCheckpoint, InvalidRequest, Unsupported, VersionMismatch, WorkerStuck)
TICK = 0.25
# Beyond close_grace, for a worker that has to be killed and for what it has printed, seconds.
CLOSE_LIMIT = 30.0


@dataclass(frozen=True)
class _Ending:
    """How a worker's life ended, and whether it had been able to answer before."""

    error: VilaError
    was_ready: bool = False


class SupervisedEngine:
    """The Engine of a spec, in a worker process. Thread-safe.

    Arguments:
        spec: what the worker builds and loads.
        interpreter: path or name of the worker's Python; None or "" for the node's own. Another
            one needs numpy and the runtime's modules, neither this package nor ROS.
        on_status: gets the status after every change of state, in a thread of the engine's; may
            call every method but close().
        on_log: gets level (of logging) and text of each line the worker writes or logs; without,
            they go to this module's logger.
        policy: times and limits.

    Raises InvalidRequest for an interpreter that is no program, or options that are not JSON.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        interpreter: str | None = None,
        on_status: Callable[[EngineStatus], None] | None = None,
        on_log: Callable[[int, str], None] | None = None,
        policy: SupervisionPolicy | None = None,
    ) -> None:
        encode_spec(spec)
        self._spec = spec
        self._interpreter = resolve_interpreter(interpreter or None)
        self._on_status = on_status
        self._on_log = on_log or logger.log
        self._policy = policy or SupervisionPolicy()
        self._backoff = Backoff(self._policy)
        self._events: queue.SimpleQueue[WorkerEvent | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        # Guards what follows, and is notified when any of it changes.
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._state = EngineState.STOPPED
        self._failure: VilaError | None = None
        self._link: WorkerLink | None = None
        self._capabilities: Capabilities | None = None
        self._rate = TokenRate()
        self._restarts = 0
        self._failed_loads = 0
        self._load_seconds = 0.0
        # When the worker was started, or the next one will be.
        self._begins = 0.0

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do; None until it has been loaded once. Never blocks."""
        return self._capabilities

    def start(self) -> None:
        """Start loading, without waiting for it. An engine that is FAILED is tried again now."""
        with self._changed:
            if self._state not in (EngineState.STOPPED, EngineState.FAILED) or self._closing:
                return
            self._state = EngineState.STARTING
            self._failed_loads = 0
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._supervise, name="engine supervisor", daemon=True
                )
                self._thread.start()
            self._hurry.set()
        self._tell()

    def load(self) -> Capabilities:
        """Start if need be, and block until the engine can generate.

        Raises the load's error (InvalidCheckpoint, OutOfMemory, …) once the engine is FAILED, and
        EngineDown if it is closed meanwhile.
        """
        self.start()
        settled = (EngineState.READY, EngineState.FAILED, EngineState.STOPPED)
        with self._changed:
            self._changed.wait_for(lambda: self._state in settled)
            if self._state is EngineState.READY and self._capabilities is not None:
                return self._capabilities
            if self._state is EngineState.FAILED and self._failure is not None:
                raise copy_of(self._failure)
            raise EngineDown("The engine was closed while it loaded.")

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """Stream the answer; see Engine.generate.

        The request's pixels must not change before the iterator ends. Beyond the worker's errors
        it raises EngineDown if no worker is ready or it dies during the answer, and QueueFull. It
        ends at its deadline and at cancel() also when the worker hangs.
        """
        reply = Reply(request.request_id, request.deadline)
        try:
            link = self._ready_link()
            number = link.submit(request, reply)
        except VilaError as error:
            reply.fail(error)
            return ReplyStream(reply, drop=Reply.drop)
        return ReplyStream(reply, drop=lambda dropped: link.drop(number, dropped))

    def cancel(self, request_id: str) -> None:
        """End a request in flight; its iterator raises Cancelled at once."""
        link = self._link
        if link is not None:
            link.cancel(request_id)

    def close(self) -> None:
        """End the worker; requests in flight end with Cancelled. start() begins anew."""
        with self._changed:
            thread, link = self._thread, self._link
            if thread is None:
                return
            self._closing = True
        if link is not None:
            link.end(Cancelled("The engine was closed."))
        self._hurry.set()
        self._events.put(None)
        thread.join(self._policy.close_grace + CLOSE_LIMIT)
        if thread.is_alive():
            self._log(logging.ERROR, "The engine's supervisor does not end; it is left behind.")
            return
        with self._changed:
            if self._thread is not thread:
                # Somebody else closed it too, and was faster.
                return
            self._thread, self._closing = None, False
            self._failure = None
            self._state = EngineState.STOPPED
        self._forget_events()
        self._tell()

    def status(self) -> EngineStatus:
        """The engine at this moment."""
        with self._changed:
            link = self._link
            heartbeat = link.heartbeat if link else None
            return EngineStatus(
                state=self._state,
                restarts=self._restarts,
                last_error=self._failure.message if self._failure else "",
                capabilities=self._capabilities,
                worker_pid=link.process.pid if link else None,
                memory_bytes=heartbeat.memory_bytes if heartbeat else 0,
                device_memory_bytes=heartbeat.device_memory_bytes if heartbeat else 0,
                tokens_per_second=self._rate.per_second(),
                in_flight=link.in_flight if link else 0,
                load_seconds=self._load_seconds,
            )

    def _ready_link(self) -> WorkerLink:
        with self._changed:
            if self._link is not None and self._state is EngineState.READY:
                return self._link
            raise EngineDown(self._why_down())

    def _why_down(self) -> str:
        """Why a request cannot be answered now, and when one can."""
        state = f"The engine is {self._state.name}"
        reason = f" after: {self._failure.message}" if self._failure else "."
        if self._state is EngineState.STOPPED:
            return f"{state}; start it first."
        if self._state is EngineState.STARTING and self._failure is None:
            since = time.monotonic() - self._begins
            return f"{state}: '{self._spec.model}' has been loading for {since:.1f} s."
        wait = max(self._begins - time.monotonic(), 0.0)
        if self._state is EngineState.FAILED:
            return f"{state}{reason} It is tried again in {wait:.0f} s."
        expected = max(self._begins + self._load_seconds - time.monotonic(), 0.0)
        return f"{state}{reason} It is expected back in about {expected:.1f} s."

    def _supervise(self) -> None:
        """The supervisor's thread. It starts the workers, which live no longer than it does."""
        while not self._closing:
            wait = self._one_life()
            if self._hurry.wait(wait) and self._closing:
                return
            with self._changed:
                self._restarts += 1

    def _one_life(self) -> float:
        """Start a worker, stay until it has ended; returns the wait before the next, seconds."""
        with self._changed:
            self._begins = time.monotonic()
            self._rate = TokenRate()
        link: WorkerLink | None = None
        try:
            process = WorkerProcess(self._interpreter, self._log)
            try:
                link = WorkerLink(self._spec, process, self._policy, self._events)
                with self._changed:
                    self._link = link
                ending = self._watch(link)
            finally:
                process.reap()
        except VilaError as error:
            ending = _Ending(error)
        except Exception as error:
            # No thread or file descriptor left, say: the robot goes on, and this is tried again.
            logger.exception("The engine's supervision failed")
            ending = _Ending(EngineFailed(f"The engine cannot be supervised: {error!r}"))
        if self._closing:
            wait, says = 0.0, "The engine was closed."
            if isinstance(ending.error, WorkerStuck):
                self._log(logging.ERROR, ending.error.message)
        else:
            wait, says = self._after(ending)
            self._log(logging.ERROR, says)
        with self._changed:
            self._link = None
        if link is not None:
            link.end(EngineDown(says))
            link.close()
        self._forget_events()
        if not self._closing:
            self._tell()
        return wait

    def _watch(self, link: WorkerLink) -> _Ending:
        """Stay until the worker has hung up, failed, or been killed for hanging."""
        ready_at: float | None = None
        ticked = time.monotonic()
        gone = False
        while not self._closing:
            event = self._next_event()
            now = time.monotonic()
            overdue = link.overdue(min(now - ticked, 2 * TICK), ready_at is not None)
            ticked = now
            # A child that it forked may hold its connection open. One more tick lets what it had
            # sent arrive.
            was_gone, gone = gone, link.process.has_exited()
            if isinstance(event, Loaded):
                ready_at = now
                self._loaded(event.capabilities)
            elif event is not None or overdue is not None or was_gone:
                error = self._why_ended(link, event, overdue)
                return _Ending(error, was_ready=ready_at is not None)
            elif ready_at is not None:
                self._observe(link, now, now - ready_at)
        link.process.end(self._policy.close_grace)
        return _Ending(EngineDown("The engine was closed."))

    def _next_event(self) -> WorkerEvent | None:
        try:
            return self._events.get(timeout=TICK)
        except queue.Empty:
            return None

    def _why_ended(
        self, link: WorkerLink, event: WorkerEvent | None, overdue: str | None
    ) -> VilaError:
        """Make sure that a worker is gone which failed, hung up or hangs; says why it is."""
        if isinstance(event, LoadFailed):
            link.process.end(self._policy.close_grace)
            return event.error
        if overdue is not None:
            link.process.kill()
        how = link.process.reap(killed_because=overdue or "")
        broken = event.error if isinstance(event, HungUp) else None
        return broken or EngineDown(how)

    def _loaded(self, capabilities: Capabilities) -> None:
        with self._changed:
            self._capabilities = capabilities
            now = time.monotonic()
            self._load_seconds = now - self._begins
            self._rate.add(now, 0)
            self._failed_loads = 0
            self._state = EngineState.READY
        self._tell()

    def _observe(self, link: WorkerLink, now: float, ready_for: float) -> None:
        with self._changed:
            self._rate.add(now, link.heartbeat.tokens)
        if ready_for > self._policy.healthy_after:
            self._backoff.reset()

    def _after(self, ending: _Ending) -> tuple[float, str]:
        """Decide what follows a worker's end: the wait before the next, and what to say."""
        wait = self._backoff.fail()
        with self._changed:
            self._failure = ending.error
            self._state = EngineState.RESTARTING
            if not ending.was_ready:
                self._failed_loads += 1
                lasting = isinstance(ending.error, LASTING)
                if lasting or self._failed_loads >= self._policy.load_attempts:
                    self._state = EngineState.FAILED
                    wait = self._policy.failed_retry
            self._hurry.clear()
            if self._closing:
                self._hurry.set()
            self._begins = time.monotonic() + wait
        return wait, f"{ending.error.message} The engine is started again in {wait:g} s."

    def _forget_events(self) -> None:
        while not self._events.empty():
            self._events.get()

    def _tell(self) -> None:
        """Wake who waits for a change of state, and report it."""
        with self._changed:
            self._changed.notify_all()
        if self._on_status is None:
            return
        try:
            self._on_status(self.status())
        except Exception:
            logger.exception("on_status raised an error")

    def _log(self, level: int, text: str) -> None:
        # An error here would end the thread that empties the worker's pipe, and block the worker.
        try:
            self._on_log(level, text)
        except Exception:
            logger.exception("on_log raised an error")
