# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How far a run is: counted, and shown as one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

from vila_ros.fleet.types import Progress, Task, TaskResult

_LINE_SECONDS = 10.0  # between two lines where the output is no terminal


class ProgressMeter:
    """Counts results as they come and reports after each.

    resumed: results of earlier runs, by id; they do not count for the throughput.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        resumed: Mapping[str, TaskResult],
        report: Callable[[Progress], None] | None = None,
    ) -> None:
        self._report = report
        self._total = len(tasks)
        self._amount_total = sum(task.amount for task in tasks)
        self._resumed = self._done = len(resumed)
        self._amount_resumed = self._amount = sum(result.task.amount for result in resumed.values())
        self._failed = 0
        self._started = time.monotonic()
        self._tell()

    def count(self, result: TaskResult) -> None:
        """Note a result of this run."""
        self._done += 1
        self._failed += bool(result.error)
        self._amount += result.task.amount
        self._tell()

    def progress(self) -> Progress:
        """How far it is now."""
        elapsed = time.monotonic() - self._started
        new = self._amount - self._amount_resumed
        throughput = new / elapsed if new and elapsed > 0 else 0.0
        left = (self._amount_total - self._amount) / throughput if throughput else None
        return Progress(
            done=self._done,
            failed=self._failed,
            resumed=self._resumed,
            total=self._total,
            amount_done=self._amount,
            amount_total=self._amount_total,
            elapsed=elapsed,
            throughput=throughput,
            left=0.0 if self._done == self._total else left,
        )

    def _tell(self) -> None:
        if self._report is not None:
            self._report(self.progress())


class ProgressLine:
    """Shows progress on stderr: a line that is rewritten on a terminal, else one now and then.

    unit: what amounts count, as "s" for recorded seconds; "" where tasks count alone. Use as a
    context manager, so that the terminal's line is ended.
    """

    def __init__(self, unit: str = "", name: str = "tasks", stream: TextIO | None = None) -> None:
        self._unit, self._name = unit, name
        self._stream = stream or sys.stderr
        self._rewrites = self._stream.isatty()
        self._next = time.monotonic() + _LINE_SECONDS
        self._open = False

    def __call__(self, progress: Progress) -> None:
        """Show it, if it is time."""
        text = describe(progress, self._unit, self._name)
        if self._rewrites:
            print(f"\r\x1b[K  {text}", end="", file=self._stream, flush=True)
            self._open = True
        elif time.monotonic() >= self._next:
            print(text, file=self._stream, flush=True)
            self._next = time.monotonic() + _LINE_SECONDS

    def clear(self) -> None:
        """Make room for other lines; the next progress draws it anew."""
        if self._open:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._open = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            print(file=self._stream, flush=True)
            self._open = False


def describe(progress: Progress, unit: str = "", name: str = "tasks") -> str:
    """One line, as "12 of 340 tasks, 1 failed, 18.2 s/s, 5 min left"."""
    parts = [f"{progress.done} of {progress.total} {name}"]
    if progress.resumed:
        parts.append(f"{progress.resumed} done before")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.throughput:
        parts.append(f"{progress.throughput:.3g} {unit or name}/s")
    if progress.left is not None and progress.done < progress.total:
        parts.append(f"{duration(progress.left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """As people say it: "42 s", "7 min", "3 h 20 min", "2 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod(hours, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"
