# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of cameras, queue, engine and descriptions.

The functions turn the state of one part into one DiagnosticStatus; Diagnostics publishes them
periodically in every lifecycle state. Levels: OK works; WARN works with losses or is starting;
ERROR does not work; STALE is switched off.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from vila_ros.engine.supervision import EngineState, EngineStatus
from vila_ros.nodes.cameras import CameraStatus
from vila_ros.nodes.conversions import clean
from vila_ros.nodes.descriptions import DescriptionStatus
from vila_ros.perception.perceiver import PerceiverStatistics

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR
STALE = DiagnosticStatus.STALE

LARGE_IMAGE_HINT = (
    "Large images need FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA in the publisher's environment as "
    "well as in the node's, and no ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, which undoes it"
)


@dataclass(frozen=True)
class Rates:
    """What a camera did since the last report: messages received and dropped, over seconds."""

    received: int = 0
    dropped: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Messages received a second."""
        return self.received / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class ClockStatus:
    """simulated: time comes from /clock. now_ns: 0 before its first tick. jumps: back, or from one
    source to the other, since the node started."""

    simulated: bool
    now_ns: int
    jumps: int


@dataclass(frozen=True)
class NodeStatus:
    """All that is reported; None for what exists only while the node is configured."""

    cameras: tuple[CameraStatus, ...]
    perceiver: PerceiverStatistics | None
    engine: EngineStatus | None
    description: DescriptionStatus
    clock: ClockStatus


class Diagnostics:
    """Publishes on /diagnostics every `period` seconds of real time, from construction on."""

    def __init__(
        self, node: LifecycleNode, status: Callable[[], NodeStatus], period: float
    ) -> None:
        self._node = node
        self._status = status
        # Real time: a stopped /clock must not silence what reports it.
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._seen: dict[str, tuple[float, int, int]] = {}
        self._period = period
        self._timer = node.create_timer(period, self._report, clock=self._clock)

    def set_period(self, period: float) -> None:
        """Report at another period from now on."""
        if period != self._period:
            self._period = period
            self._node.destroy_timer(self._timer)
            self._timer = self._node.create_timer(period, self._report, clock=self._clock)

    def destroy(self) -> None:
        """Report no more."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _report(self) -> None:
        status = self._status()
        parts = [
            *(camera_diagnostic(each, self._rates(each)) for each in status.cameras),
            queue_diagnostic(status.perceiver),
            engine_diagnostic(status.engine),
            description_diagnostic(status.description),
            clock_diagnostic(status.clock),
        ]
        name = self._node.get_fully_qualified_name().lstrip("/")
        for part in parts:
            part.name = f"{name}: {part.name}"
            part.hardware_id = name
        message = DiagnosticArray(status=parts)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _rates(self, status: CameraStatus) -> Rates:
        """What the camera did since the last report."""
        now, received = time.monotonic(), status.buffer.received
        dropped = sum(status.buffer.dropped.values())
        before = self._seen.get(status.name)
        self._seen[status.name] = (now, received, dropped)
        if before is None or received < before[1]:  # new, or configured anew
            return Rates()
        return Rates(received - before[1], dropped - before[2], now - before[0])


def camera_diagnostic(status: CameraStatus, rates: Rates) -> DiagnosticStatus:
    """Frames received, dropped and why, and what is wrong when none arrives."""
    buffer = status.buffer
    level, message = _judge_camera(status, rates)
    span = 0.0
    if buffer.oldest_ns is not None and buffer.newest_ns is not None:
        span = (buffer.newest_ns - buffer.oldest_ns) / 1e9
    values: dict[str, object] = {
        "topic": status.topic,
        "type": status.kind.value,
        "frames a second": f"{rates.per_second:.1f}",
        "received": buffer.received,
        "dropped": sum(buffer.dropped.values()),
    }
    values.update({f"dropped: {reason.value}": n for reason, n in buffer.dropped.items()})
    values.update(
        {
            "frames held": buffer.frames,
            "bytes held": buffer.bytes,
            "seconds held": f"{span:.2f}",
            "newest stamp": _stamp(buffer.newest_ns),
            "seconds since last message": f"{status.silence:.1f}",
            "jumps back in time": buffer.resets,
        }
    )
    for each in status.publishers or ():
        values[f"publisher {each.node}"] = each.fault or "fits"
    return _status(f"cameras/{status.name}", level, message, values)


def _judge_camera(status: CameraStatus, rates: Rates) -> tuple[bytes, str]:
    if not status.active:
        return STALE, "not subscribed: the node is not active"
    if status.failure:
        return ERROR, f"frames are not received any more: {status.failure}; activate anew"
    if status.publishers is None:
        if rates.received and rates.dropped == rates.received:
            reasons = ", ".join(reason.value for reason in status.buffer.dropped)
            return ERROR, f"every frame is dropped: {reasons}"
        if rates.dropped:
            return WARN, f"{rates.dropped} of {rates.received} frames dropped"
        return OK, f"{rates.per_second:.1f} frames a second"
    silent = f"for {status.silence:.0f} s"
    if not status.publishers:
        return ERROR, f"no publisher on {status.topic}, no frame {silent}"
    faults = [each for each in status.publishers if each.fault]
    if len(faults) == len(status.publishers):
        return ERROR, f"publisher present, no frame arrives: {faults[0].node}: {faults[0].fault}"
    return ERROR, f"publisher present, no frame arrives {silent}. {LARGE_IMAGE_HINT}"


def engine_diagnostic(status: EngineStatus | None) -> DiagnosticStatus:
    """State, restarts, tokens a second and memory of the worker process."""
    if status is None:
        return _status("engine", STALE, "not started: the node is not configured", {})
    level, message = {
        EngineState.STOPPED: (STALE, "stopped"),
        EngineState.STARTING: (WARN, "loading the model"),
        EngineState.READY: (OK, "ready"),
        EngineState.RESTARTING: (ERROR, f"restarting after: {status.last_error}"),
        EngineState.FAILED: (ERROR, f"failed: {status.last_error}"),
    }[status.state]
    values: dict[str, object] = {
        "state": status.state.name,
        "restarts": status.restarts,
        "worker process": status.worker_pid or "none",
        "memory bytes": status.memory_bytes,
        "device memory bytes": status.device_memory_bytes,
        "seconds to load": f"{status.load_seconds:.1f}",
        "tokens a second": f"{status.tokens_per_second:.1f}",
        "requests in flight": status.in_flight,
        "last error": status.last_error or "none",
    }
    if status.capabilities is not None:
        loaded = status.capabilities
        values.update(
            {
                "model": loaded.model,
                "runtime": loaded.runtime,
                "device": loaded.device,
                "dtype": loaded.dtype,
                "context tokens": loaded.context_length,
                "images a request": loaded.max_images,
                "tokens an image": loaded.tokens_per_image,
                "requests at once": loaded.max_concurrency,
            }
        )
    return _status("engine", level, message, values)


def queue_diagnostic(status: PerceiverStatistics | None) -> DiagnosticStatus:
    """Questions waiting, running and ended."""
    if status is None:
        return _status("queue", STALE, "closed: the node is not configured", {})
    values: dict[str, object] = {
        "waiting": status.waiting,
        "waiting in the background": status.waiting_background,
        "running": status.running,
        "queue size": status.queue_size,
        "answered": status.answered,
        "failed": sum(status.failed.values()),
        "bytes of decoded images": status.decoded_bytes,
    }
    values.update({f"failed: {code.name}": count for code, count in status.failed.items()})
    message = f"{status.waiting} waiting, {status.running} running"
    if status.waiting >= status.queue_size:
        return _status("queue", WARN, f"full: {message}", values)
    return _status("queue", OK, message, values)


def description_diagnostic(status: DescriptionStatus) -> DiagnosticStatus:
    """Scene descriptions published, and why not."""
    values: dict[str, object] = {
        "descriptions a second wanted": f"{status.rate:g}",
        "published": status.published,
        "preempted by questions": status.preempted,
        "failed": status.failed,
        "skipped": status.skipped,
    }
    if status.rate == 0:
        return _status("scene_description", OK, "switched off: description.rate is 0", values)
    if status.trouble:
        return _status("scene_description", WARN, f"not published: {status.trouble}", values)
    return _status("scene_description", OK, f"{status.published} published", values)


def clock_diagnostic(status: ClockStatus) -> DiagnosticStatus:
    """Which time the node lives in, and its jumps."""
    values: dict[str, object] = {
        "source": "/clock" if status.simulated else "system",
        "now": _stamp(status.now_ns),
        "jumps": status.jumps,
    }
    if status.simulated and status.now_ns == 0:
        return _status("clock", ERROR, "use_sim_time is true, but nothing is on /clock", values)
    if status.jumps:
        return _status("clock", WARN, f"time jumped {status.jumps} time(s)", values)
    return _status("clock", OK, f"time comes from {values['source']}", values)


def _status(name: str, level: bytes, message: str, values: dict[str, object]) -> DiagnosticStatus:
    return DiagnosticStatus(
        name=name,
        level=level,
        message=clean(message),
        values=[KeyValue(key=key, value=clean(str(value))) for key, value in values.items()],
    )


def _stamp(nanoseconds: int | None) -> str:
    return "none" if nanoseconds is None else f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09d}"
