# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Do many tasks, each once, however often the run is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from vila_ros.errors import InvalidRequest, UnusableFolder
from vila_ros.fleet.ledger import Ledger, fingerprint
from vila_ros.fleet.processes import run_in_processes
from vila_ros.fleet.progress import ProgressMeter
from vila_ros.fleet.task_run import Outcome, load_work, run_task
from vila_ros.fleet.types import Progress, Task, TaskResult

MAX_WORKERS = 1024
ATTEMPTS = 3


def run_tasks(
    tasks: Sequence[Task],
    work: str,
    ledger: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[Progress], None] | None = None,
    attempts: int = ATTEMPTS,
) -> Iterator[TaskResult]:
    """The tasks' results in the order of the tasks, each as soon as it and those before are done.

    work: "package.module:function"; function(task, folder) writes files into its folder and returns
        JSON. It must give the same for the same task, wherever and in whatever order it runs. What
        it keeps in its module (a loaded model) serves all tasks of its process.
    ledger: folder of what is done; tasks found there are not done again. OutputFolder has one.
    workers: 1 works in this process, more are processes of this machine. ray: address of a cluster
        to use instead, see run_on_ray.
    progress: called at the start and after each task.
    attempts: how often a task is begun whose worker died. A task that raises is not tried again.

    A task that fails ends with its error and the others go on. Raises InvalidRequest for tasks that
    are no tasks, UnusableFolder where another run uses the ledger, the disk is full or cannot be
    written; what is done stays done. Closing the iterator ends the workers.
    """
    ids = [task.id for task in tasks]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise InvalidRequest(f"Two tasks have the id {twice!r}; ids must differ.")
    if not 1 <= workers <= MAX_WORKERS:
        raise InvalidRequest(f"workers is {workers}; it must be from 1 to {MAX_WORKERS}.")
    if attempts < 1:
        raise InvalidRequest(f"attempts is {attempts}; at least 1.")
    for task in tasks:
        fingerprint(task, work)
    if workers == 1 and ray is None:
        load_work(work)  # a wrong name is told before anything is made
    return _run(tasks, work, ledger.absolute(), workers, ray, progress, attempts)


def _run(
    tasks: Sequence[Task],
    work: str,
    ledger: Path,
    workers: int,
    ray: str | None,
    progress: Callable[[Progress], None] | None,
    attempts: int,
) -> Iterator[TaskResult]:
    book = Ledger(ledger)
    book.claim()
    try:
        results = {
            name: TaskResult(found.task, found.value, found.folder, "", found.seconds, True)
            for name, found in book.resume(tasks, work).items()
        }
        meter = ProgressMeter(tasks, results, progress)
        todo = [task for task in tasks if task.id not in results]
        outcomes = _outcomes(todo, work, ledger, workers, ray, attempts)
        try:
            for task in tasks:
                while task.id not in results:
                    done, outcome = next(outcomes)
                    results[done.id] = _result(book, done, work, outcome)
                    meter.count(results[done.id])
                yield results.pop(task.id)
        finally:
            outcomes.close()
    finally:
        book.release()


def _outcomes(
    todo: list[Task], work: str, ledger: Path, workers: int, ray: str | None, attempts: int
) -> Generator[tuple[Task, Outcome], None, None]:
    if not todo:
        return
    if ray is not None:
        from vila_ros.fleet.ray_cluster import run_on_ray

        yield from run_on_ray(todo, work, ledger, ray, attempts)
    elif workers == 1:
        for task in todo:
            yield task, run_task(task, work, ledger)
    else:
        yield from run_in_processes(todo, work, ledger, workers, attempts)


def _result(book: Ledger, task: Task, work: str, outcome: Outcome) -> TaskResult:
    if outcome.fatal:
        raise UnusableFolder(outcome.error)
    if outcome.error:
        return TaskResult(task, error=outcome.error)
    found = book.result(task, work)
    return found or TaskResult(task, error=f"What it gave is gone from '{book.folder}'.")
