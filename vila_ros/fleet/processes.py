# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks over worker processes of this machine.

Each worker has a thread here that hands it one task at a time. A worker that dies (killed for
memory, a crash in a native library) is replaced and its task is tried again.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import vila_ros
from vila_ros.fleet.ledger import Ledger
from vila_ros.fleet.task_run import Outcome
from vila_ros.fleet.types import Task

_CLOSING_SECONDS = 5.0


def run_in_processes(
    tasks: Sequence[Task], work: str, ledger: Path, workers: int, attempts: int
) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes as they come. Closing the iterator ends the workers.

    attempts: how often a task is begun whose worker died.
    """
    pool = _Pool(tasks, work, ledger, min(workers, len(tasks)), attempts)
    try:
        for _ in tasks:
            yield pool.outcomes.get()
    finally:
        pool.close()


class _Pool:
    """Worker processes and the threads that feed them."""

    def __init__(
        self, tasks: Sequence[Task], work: str, ledger: Path, workers: int, attempts: int
    ) -> None:
        self.outcomes: queue.Queue[tuple[Task, Outcome]] = queue.Queue()
        self._work, self._ledger, self._attempts = work, ledger, attempts
        self._command = [sys.executable, "-m", "vila_ros.fleet.worker", str(ledger), work]
        self._environment = worker_environment(workers)
        self._waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in tasks:
            self._waiting.put(task)
        self._lock = threading.Lock()
        self._closed = False
        self._processes: set[subprocess.Popen[str]] = set()
        self._threads = [
            threading.Thread(target=self._drive, name=f"vila-worker-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the workers: those that wait by the end of their input, the others at once."""
        with self._lock:
            self._closed = True
            processes = list(self._processes)
        for process in processes:
            process.kill()
        for thread in self._threads:
            thread.join(_CLOSING_SECONDS)

    def _drive(self) -> None:
        """One worker's life, through as many processes as it takes."""
        process: subprocess.Popen[str] | None = None
        try:
            while not self._closed:
                try:
                    task = self._waiting.get_nowait()
                except queue.Empty:
                    return
                outcome: Outcome | None = None
                for attempt in range(1, self._attempts + 1):
                    process = process or self._start()
                    if process is None:
                        return
                    outcome = self._do(process, task, attempt)
                    if process.poll() is not None:
                        self._forget(process)
                        process = None
                    if outcome is not None or self._closed:
                        break
                if outcome is not None:
                    self.outcomes.put((task, outcome))
        except OSError as error:  # no process can be started
            self.outcomes.put((task, Outcome(f"No worker can be started: {error}.", fatal=True)))
        finally:
            if process is not None:
                self._forget(process)

    def _start(self) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._closed:
                return None
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=self._environment,
            )
            self._processes.add(process)
            return process

    def _do(self, process: subprocess.Popen[str], task: Task, attempt: int) -> Outcome | None:
        """A task's outcome; None where the worker died and the task is to be tried again."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(asdict(task)) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if line:
            return Outcome(**json.loads(line))
        status = process.wait()
        if Ledger(self._ledger).result(task, self._work) is not None:
            return Outcome()  # it died after the task was done
        if attempt < self._attempts:
            return None
        return Outcome(
            f"The worker process died {attempt} times at it, the last time by {_cause(status)}; "
            "if memory is short, use fewer workers."
        )

    def _forget(self, process: subprocess.Popen[str]) -> None:
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):  # what was still to be sent is of no use to a dead worker
                if pipe is not None:
                    pipe.close()
        try:
            process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._lock:
            self._processes.discard(process)


def worker_environment(workers: int) -> dict[str, str]:
    """This process's environment for one of several workers: they share the cores, and find this
    package and what this process finds."""
    environment = dict(os.environ)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (cores or 1) // workers)))
    # glibc gives pages of large messages back to the system and asks for them anew at once.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(32 << 20))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 << 20))
    own = str(Path(vila_ros.__file__).resolve().parent.parent)
    paths = [own, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    return environment


def _cause(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
