# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of states that are hard to bring about with real processes."""

from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("vila_ros.msg", reason="needs the built interfaces: make setup")

from diagnostic_msgs.msg import DiagnosticStatus

from vila_ros.engine.interface import Capabilities
from vila_ros.engine.supervision import EngineState, EngineStatus
from vila_ros.errors import ErrorCode
from vila_ros.nodes.cameras import CameraStatus, Publisher
from vila_ros.nodes.descriptions import DescriptionStatus
from vila_ros.nodes.diagnostics import (
    ClockStatus,
    Rates,
    camera_diagnostic,
    clock_diagnostic,
    description_diagnostic,
    engine_diagnostic,
    queue_diagnostic,
)
from vila_ros.perception.buffer import BufferStatistics
from vila_ros.perception.perceiver import PerceiverStatistics
from vila_ros.perception.types import DropReason, MessageKind

OK, WARN = DiagnosticStatus.OK, DiagnosticStatus.WARN
ERROR, STALE = DiagnosticStatus.ERROR, DiagnosticStatus.STALE
BUFFER = BufferStatistics(
    received=10, dropped={DropReason.EMPTY: 2}, frames=3, bytes=300,
    oldest_ns=10**9, newest_ns=3 * 10**9, resets=1,
)  # fmt: skip
CAMERA = CameraStatus(
    name="front", topic="/f", kind=MessageKind.IMAGE, active=True, silence=0.1, buffer=BUFFER,
    publishers=None,
)  # fmt: skip
FITS, MISFIT = Publisher("/good", ""), Publisher("/bad", "its QoS does not fit")


def values(status):
    return {each.key: each.value for each in status.values}


@pytest.mark.parametrize(
    ("changes", "rates", "level", "says"),
    [
        ({}, Rates(60, 0, 2.0), OK, "30.0 frames a second"),
        ({}, Rates(60, 3, 2.0), WARN, "3 of 60 frames dropped"),
        ({}, Rates(60, 60, 2.0), ERROR, "every frame is dropped: empty data"),
        ({"active": False}, Rates(), STALE, "not active"),
        ({"failure": "OSError()"}, Rates(), ERROR, "OSError()"),
        (
            {"publishers": (), "silence": 5.0},
            Rates(),
            ERROR,
            "no publisher on /f, no frame for 5 s",
        ),
        ({"publishers": (MISFIT,)}, Rates(), ERROR, "/bad: its QoS does not fit"),
        ({"publishers": (MISFIT, FITS), "silence": 5.0}, Rates(), ERROR, "LARGE_DATA"),
    ],
)
def test_camera(changes, rates, level, says):
    status = camera_diagnostic(replace(CAMERA, **changes), rates)
    assert status.level == level
    assert says in status.message
    found = values(status)
    assert (found["received"], found["dropped"], found["dropped: empty data"]) == ("10", "2", "2")
    assert (found["frames held"], found["bytes held"], found["seconds held"]) == (
        "3",
        "300",
        "2.00",
    )
    assert (found["newest stamp"], found["jumps back in time"]) == ("3.000000000", "1")


@pytest.mark.parametrize(
    ("status", "level", "says"),
    [
        (None, STALE, "not configured"),
        (EngineStatus(EngineState.STOPPED), STALE, "stopped"),
        (EngineStatus(EngineState.STARTING), WARN, "loading"),
        (EngineStatus(EngineState.READY), OK, "ready"),
        (EngineStatus(EngineState.RESTARTING, last_error="signal 9"), ERROR, "signal 9"),
        (EngineStatus(EngineState.FAILED, last_error="no such file"), ERROR, "no such file"),
    ],
)
def test_engine(status, level, says):
    found = engine_diagnostic(status)
    assert found.level == level
    assert says in found.message


def test_engine_tells_restarts_rate_memory_and_model():
    loaded = Capabilities("vila", "torch", "cuda:0", "float16", 8, 196, 4096)
    status = EngineStatus(
        EngineState.READY, restarts=2, worker_pid=77, memory_bytes=5, device_memory_bytes=6,
        tokens_per_second=12.34, in_flight=1, capabilities=loaded,
    )  # fmt: skip
    found = values(engine_diagnostic(status))
    assert (found["restarts"], found["worker process"]) == ("2", "77")
    assert (found["memory bytes"], found["device memory bytes"]) == ("5", "6")
    assert (found["tokens a second"], found["requests in flight"]) == ("12.3", "1")
    assert (found["model"], found["device"], found["dtype"]) == ("vila", "cuda:0", "float16")


def test_queue_counts_failures_by_code_and_warns_when_full():
    status = PerceiverStatistics(
        waiting=1, waiting_background=0, running=1, queue_size=4, answered=5,
        failed={ErrorCode.EMPTY_WINDOW: 3}, decoded_bytes=9,
    )  # fmt: skip
    found = queue_diagnostic(status)
    assert found.level == OK
    assert values(found)["failed"] == values(found)["failed: EMPTY_WINDOW"] == "3"
    full = queue_diagnostic(replace(status, waiting=4))
    assert full.level == WARN
    assert full.message.startswith("full")
    assert queue_diagnostic(None).level == STALE


def test_descriptions_that_fail_warn_with_the_reason():
    status = DescriptionStatus(1.0, published=1, preempted=0, failed=1, skipped=0, trouble="x: y")
    assert description_diagnostic(status).level == WARN
    assert "x: y" in description_diagnostic(status).message
    assert description_diagnostic(replace(status, trouble="")).level == OK
    assert description_diagnostic(replace(status, rate=0.0)).level == OK


def test_clock():
    assert clock_diagnostic(ClockStatus(False, 5, 0)).level == OK
    assert clock_diagnostic(ClockStatus(True, 0, 0)).level == ERROR
    assert clock_diagnostic(ClockStatus(True, 5, 1)).level == WARN
