# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks over the nodes of a Ray cluster (https://docs.ray.io).

Every node has this package installed and sees the recordings and the ledger under the same paths,
as on a shared file system. Ray lets everyone who reaches its ports run code: keep them private.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidRequest, Unsupported, UnusableFolder
from vila_ros.fleet.ledger import Ledger
from vila_ros.fleet.processes import worker_environment
from vila_ros.fleet.task_run import Outcome, run_task
from vila_ros.fleet.types import Task

_CONNECT_SECONDS = 5.0
_TOKENS = "https://docs.ray.io/en/latest/ray-security/token-auth.html"
_WAITING_PER_CORE = 2  # tasks in Ray's hands, so that no core waits for the driver


def run_on_ray(
    tasks: Sequence[Task], work: str, ledger: Path, address: str, attempts: int
) -> Iterator[tuple[Task, Outcome]]:
    """Outcomes as they come. Closing the iterator gives up what still runs.

    address: "HOST:PORT" of the cluster's head, "auto" for the one of this machine, "local" for one
    that is started here and ends with the run. Raises Unsupported without Ray, InvalidRequest where
    there is no cluster, UnusableFolder where its nodes do not see the ledger.
    """
    _check_address(address)
    try:
        import ray
    except ImportError:
        raise Unsupported(
            "--ray needs Ray, which is not installed: pip install ray. Without it, --workers uses "
            "the cores of this machine."
        ) from None
    _connect(ray, address)
    try:
        yield from _run(ray, tasks, work, ledger, attempts)
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raises InvalidRequest where nobody listens; Ray itself would wait for minutes."""
    if address in ("auto", "local"):
        return
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not (separator and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise InvalidRequest(
            f"--ray {address!r} is no address; write HOST:PORT of the cluster's head, or auto for "
            "the one of this machine."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, f"{error.strerror or error}.") from error


def _no_cluster(address: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"No Ray cluster answers at '{address}': {why} Start one with `ray start --head`, or use "
        "--workers."
    )


def _connect(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    paths = worker_environment(1)["PYTHONPATH"]
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            runtime_env={"env_vars": {"PYTHONPATH": paths}},
            **options,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _refused(address, error) from error


def _refused(address: str, error: BaseException) -> InvalidRequest:
    """What an error of Ray's says to whom it happens: what is at its bottom, in one line."""
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    text = str(error).strip()
    if "AuthenticationError" in f"{type(error).__name__} {text}":
        return InvalidRequest(
            f"The Ray cluster at '{address}' wants a token, which was not given or is not the "
            f"right one. Set RAY_AUTH_MODE=token, and put the token where Ray looks for it "
            f"({_TOKENS})."
        )
    lines = [line for line in text.splitlines() if line and not line[0].isspace()]
    # Ray puts a whole traceback into the text of some; its last line is the error.
    told = lines[-1] if "Traceback" in text else next(iter(lines), type(error).__name__)
    return _no_cluster(address, told)


def _run(
    ray: Any, tasks: Sequence[Task], work: str, ledger: Path, attempts: int
) -> Iterator[tuple[Task, Outcome]]:
    # The first commit counts, so a task that Ray begins twice is done once.
    remote = ray.remote(num_cpus=1, max_retries=attempts - 1)(_remote_task)
    most = max(1, int(ray.cluster_resources().get("CPU", 1))) * _WAITING_PER_CORE
    waiting = list(reversed(tasks))
    running: dict[Any, Task] = {}
    path = str(ledger.absolute())
    while waiting or running:
        while waiting and len(running) < most:
            task = waiting.pop()
            running[remote.remote(asdict(task), work, path)] = task
        (ready,), _ = ray.wait(list(running))
        task = running.pop(ready)
        try:
            outcome = Outcome(**ray.get(ready))
        except ray.exceptions.RayError as error:
            first = str(error).strip().splitlines()[0]
            outcome = Outcome(f"Its worker on the cluster died {attempts} times: {first}")
        if not outcome.error and Ledger(ledger).result(task, work) is None:
            raise UnusableFolder(
                f"A node of the cluster did a task, but '{ledger}' does not show it here; name an "
                "output folder on a file system that all nodes share."
            )
        yield task, outcome


def _remote_task(task: dict[str, Any], work: str, ledger: str) -> dict[str, Any]:
    """On a node of the cluster."""
    return asdict(run_task(Task(**task), work, Path(ledger)))
