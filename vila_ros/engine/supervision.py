# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a worker is watched over, and what is known about it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from vila_ros.engine.interface import Capabilities


class EngineState(Enum):
    """Where the engine is.

    STOPPED: not started, or closed. STARTING: its first worker loads. READY: it answers.
    RESTARTING: its worker died; another one waits to start, or loads.
    FAILED: it cannot be loaded, for the reason in last_error; tried again at long intervals.
    """

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True)
class EngineStatus:
    """The engine at a moment.

    restarts: workers started because one before them ended or failed. last_error: why the last
    one did, "" if none. capabilities: None until loaded once. worker_pid: None without a worker.
    memory_bytes: the worker's resident memory; device_memory_bytes: what the runtime holds on its
    device, 0 if it does not say. tokens_per_second: mean of the last 10 s. in_flight: requests
    being answered. load_seconds: how long the last load took, 0.0 before one has succeeded.
    """

    state: EngineState
    restarts: int = 0
    last_error: str = ""
    capabilities: Capabilities | None = None
    worker_pid: int | None = None
    memory_bytes: int = 0
    device_memory_bytes: int = 0
    tokens_per_second: float = 0.0
    in_flight: int = 0
    load_seconds: float = 0.0


@dataclass(frozen=True)
class SupervisionPolicy:
    """When a worker counts as lost and when it is started again; all durations in seconds.

    heartbeat_interval: between the worker's heartbeats. heartbeat_timeout: a loaded worker that
        says nothing for so long is killed. (While it loads, imports may hold the interpreter's
        lock for longer; then load_timeout alone counts.)
    stall_timeout: a worker is killed in which a request makes no step for so long, beginning when
        it leaves the queue; or no request at all; or that does not end a request so long after
        its asker has dropped it. Longer than the slowest step, which is to encode and prefill the
        largest prompt on the slowest device.
    load_timeout: a worker that is not loaded after so long is killed.
    backoff_first, backoff_max: the wait before a restart doubles from the one to the other.
    healthy_after: a worker that was loaded for so long resets the wait to backoff_first.
    load_attempts: loads that fail for a reason that may pass (a crash, no memory) make the engine
        FAILED after so many in a row; a bad checkpoint, runtime or option at once.
    failed_retry: wait between loads of an engine that is FAILED.
    close_grace: the worker's time to release everything before it is killed.
    max_requests: in the engine at once, waiting ones included; more are refused with QueueFull.
    """

    heartbeat_interval: float = 0.5
    heartbeat_timeout: float = 10.0
    stall_timeout: float = 120.0
    load_timeout: float = 1800.0
    backoff_first: float = 0.5
    backoff_max: float = 30.0
    healthy_after: float = 60.0
    load_attempts: int = 3
    failed_retry: float = 60.0
    close_grace: float = 5.0
    max_requests: int = 128


class Backoff:
    """Waits that double with every failure in a row."""

    def __init__(self, policy: SupervisionPolicy) -> None:
        self._policy = policy
        self.failures = 0

    def fail(self) -> float:
        """Count a failure; returns the wait after it, seconds."""
        # Bounded, as 2.0 to a large power overflows: an engine may fail for months.
        doublings = min(self.failures, 32)
        self.failures += 1
        return min(self._policy.backoff_first * 2.0**doublings, self._policy.backoff_max)

    def reset(self) -> None:
        """Forget all failures."""
        self.failures = 0


class TokenRate:
    """Tokens a second over the last seconds, out of a worker's running total."""

    WINDOW = 10.0

    def __init__(self) -> None:
        self._totals: deque[tuple[float, int]] = deque()

    def add(self, now: float, total: int) -> None:
        """Note the total at a moment (seconds, rising)."""
        self._totals.append((now, total))
        while len(self._totals) > 2 and self._totals[1][0] <= now - self.WINDOW:
            self._totals.popleft()

    def per_second(self) -> float:
        """The mean over the window; 0.0 before two totals are known."""
        if len(self._totals) < 2:
            return 0.0
        (start, before), (end, after) = self._totals[0], self._totals[-1]
        return (after - before) / max(end - start, 1e-9)
