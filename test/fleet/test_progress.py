# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a run is, for a terminal and for a log."""

from __future__ import annotations

import io
import itertools

import pytest

from vila_ros.fleet.progress import ProgressLine, ProgressMeter, describe, duration
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.slices import time_slices
from vila_ros.fleet.types import Progress, Task, TaskResult


def test_amounts_done_before_do_not_count_for_the_speed(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("vila_ros.fleet.progress.time.monotonic", lambda: clock[0])
    tasks = [Task(name, amount=amount) for name, amount in (("a", 50), ("b", 30), ("c", 20))]
    seen: list[Progress] = []
    meter = ProgressMeter(tasks, {"a": TaskResult(tasks[0])}, seen.append)
    assert (seen[0].done, seen[0].resumed, seen[0].throughput, seen[0].left) == (1, 1, 0.0, None)
    clock[0] += 10
    meter.count(TaskResult(tasks[1], error="broken"))
    assert (seen[1].done, seen[1].failed, seen[1].throughput) == (2, 1, 3.0)
    assert seen[1].left == pytest.approx(20 / 3)
    assert describe(seen[1], "s") == "2 of 3 tasks, 1 done before, 1 failed, 3 s/s, 7 s left"
    meter.count(TaskResult(tasks[2]))
    assert seen[2].left == 0.0
    assert "left" not in describe(seen[2])


def test_a_run_reports_its_start_and_every_task(tmp_path):
    seen: list[Progress] = []
    tasks = [Task(name, {"number": 1}) for name in ("a", "b")]
    list(run_tasks(tasks, "test.fleet.works:square", tmp_path, progress=seen.append))
    assert [progress.done for progress in seen] == [0, 1, 2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PROGRESS = Progress(3, 0, 0, 10, 3.0, 10.0, 6.0, 0.5, 14.0)


def test_a_terminal_has_one_line():
    stream = Terminal()
    with ProgressLine(name="recordings", stream=stream) as line:
        line(PROGRESS)
        line.clear()
        line(PROGRESS)
    text = "  3 of 10 recordings, 0.5 recordings/s, 14 s left"
    assert stream.getvalue() == f"\r\x1b[K{text}\r\x1b[K\r\x1b[K{text}\n"


def test_a_log_has_a_line_now_and_then(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("vila_ros.fleet.progress.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    with ProgressLine(stream=stream) as line:
        for _ in range(100):
            clock[0] += 0.5
            line(PROGRESS)
    assert stream.getvalue().splitlines() == [describe(PROGRESS)] * 5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("start", "end", "seconds"), [(0, 99, 1e-8), (5, 5, 1.0), (0, 10**11 + 7, 3.3), (10, 20, 1e-9)]
)
def test_slices_cover_every_stamp_once(start, end, seconds):
    slices = time_slices(start, end, seconds)
    assert slices[0][0] == start
    assert slices[-1][1] == end
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(slices))
    assert all(0 <= last - first < seconds * 1e9 for first, last in slices)


def test_an_empty_recording_has_no_slice():
    assert time_slices(10, 9, 1.0) == []
