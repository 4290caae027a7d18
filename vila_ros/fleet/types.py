# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is done over many recordings: tasks, their results, and how far a run is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidRequest

MAX_ID_LENGTH = 100
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work that does not depend on any other.

    id: unique in its run, and a file name; task_id() makes one.
    arguments: JSON values, all that the work needs to know. Other arguments are another task: what
        was done for these is not taken for them.
    amount: how much there is to do, in the run's unit (recorded seconds, frames); at least 0.
    Raises InvalidRequest for an id that is no plain file name.
    """

    id: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    amount: float = 1.0

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id) or len(self.id) > MAX_ID_LENGTH:
            raise InvalidRequest(
                f"The task id {self.id!r} is no plain file name: at most {MAX_ID_LENGTH} letters, "
                "digits, '.', '_' and '-', a letter or digit first."
            )


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of a task.

    value: what the work returned. folder: its files; of use until the run is finished.
    error: why it could not be done, one line; empty when it was. A failed task left no files, and
    is tried again by the next run into the same folder.
    seconds: what the work took. resumed: it was done by an earlier run.
    """

    task: Task
    value: Any = None
    folder: Path | None = None
    error: str = ""
    seconds: float = 0.0
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    done, failed, resumed, total: tasks; resumed and failed are among done. amount_done and
    amount_total: in the run's unit. elapsed: seconds of this run. throughput: units a second that
    this run did, 0 before the first. left: seconds that the rest takes at this speed, None before
    the first task.
    """

    done: int
    failed: int
    resumed: int
    total: int
    amount_done: float
    amount_total: float
    elapsed: float
    throughput: float
    left: float | None


def task_id(number: int, name: str) -> str:
    """An id that sorts by number and reads by name, as "000012-front_yard.mcap"."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[-60:]
    return f"{number:06d}-{readable}".rstrip("-")
