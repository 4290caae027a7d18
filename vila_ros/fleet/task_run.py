# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One task, done where it is: in this process, in a worker's, or on a node of a cluster."""

from __future__ import annotations

import importlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.fleet.files import is_fatal, unwritable
from vila_ros.fleet.ledger import Ledger
from vila_ros.fleet.types import Task

_log = logging.getLogger("vila_ros.fleet")

Work = Callable[[Task, Path], Any]
"""Does a task: writes its files into the folder, which is empty and its own, and returns JSON."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """error: why a task failed, one line; empty when its files are in the ledger. fatal: no other
    task can be done either, for instance because the disk is full."""

    error: str = ""
    fatal: bool = False


def load_work(name: str) -> Work:
    """The function "package.module:function". Raises InvalidRequest where there is none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequest(
            f"The work '{name}' cannot be loaded: {error}. Write package.module:function."
        ) from error
    if not callable(found):
        raise InvalidRequest(f"The work '{name}' is no function.")
    work: Work = found
    return work


def run_task(task: Task, work: str, ledger: Path) -> Outcome:
    """Do a task into the ledger. Never raises for what the work raises; see Outcome."""
    started = time.monotonic()
    book = Ledger(ledger)
    part: Path | None = None
    try:
        part = book.open_part(task)
        value = load_work(work)(task, part)
        book.commit(task, work, part, value, round(time.monotonic() - started, 3))
        return Outcome()
    except VilaError as error:
        cause = error.__cause__
        return Outcome(error.message, isinstance(cause, OSError) and _is_of(ledger, cause))
    except OSError as error:
        if _is_of(ledger, error):
            return Outcome(unwritable(ledger, error).message, fatal=True)
        return Outcome(f"{error.strerror or error}: '{error.filename}'")
    except Exception as error:
        _log.exception("Task %s failed by a defect; please report it.", task.id)
        return Outcome(f"{type(error).__name__}: {error}. This is a defect; please report it.")
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)  # committed parts have moved away


def _is_of(ledger: Path, error: OSError) -> bool:
    """Whether it is the run's own disk that cannot be written, not a recording that is closed."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return is_fatal(error) and (not names or any(str(ledger) in name for name in names))
