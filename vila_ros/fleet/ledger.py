# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What has been done: one folder a task, which appears as a whole or not at all.

    LEDGER/lock             held by the run that writes
    LEDGER/parts/ID.XXXX/   being written; removed by the next run where it was left
    LEDGER/done/ID/         the task's files, and result.json

The rename into done/ is the one step that counts. Where two processes did the same task (a lost
worker that lives on, a retry on a cluster), the first rename wins and the other's files are
removed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidRequest
from vila_ros.fleet.files import lock_folder, sync, unwritable
from vila_ros.fleet.types import Task, TaskResult

RESULT = "result.json"


class Ledger:
    """The done and the open tasks of one run, in a folder that all its workers see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1

    def claim(self) -> None:
        """Make the folder, keep other runs out of it, and remove what a killed run left open.

        Raises UnusableFolder where another run writes there now, or nothing can be written.
        """
        try:
            for name in ("parts", "done"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.folder)
            self._remove_parts()
        except OSError as error:
            self.release()
            raise unwritable(self.folder, error) from error

    def release(self) -> None:
        """Remove what is open and let other runs in; the latter happens however a process ends."""
        if self._lock >= 0:
            self._remove_parts()
            os.close(self._lock)
            self._lock = -1

    def _remove_parts(self) -> None:
        for left in (self.folder / "parts").glob("*"):
            shutil.rmtree(left, ignore_errors=True)

    def open_part(self, task: Task) -> Path:
        """A new folder for the files of a task. Raises OSError."""
        return Path(tempfile.mkdtemp(prefix=f"{task.id}.", dir=self.folder / "parts"))

    def commit(self, task: Task, work: str, part: Path, value: Any, seconds: float) -> None:
        """Let a task's files and its value count, at once and for good. Raises OSError.

        value: JSON; raises InvalidRequest for anything else.
        """
        try:
            text = json.dumps(
                {"of": fingerprint(task, work), "value": value, "seconds": seconds}, allow_nan=False
            )
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"{work} returned what is not JSON: {error}.") from None
        part.chmod(0o755)  # as any folder, not as a temporary one
        (part / RESULT).write_text(text)
        sync(part)
        try:
            part.rename(self.folder / "done" / task.id)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(part, ignore_errors=True)  # another process was first

    def result(self, task: Task, work: str) -> TaskResult | None:
        """What a task gave, if it was done with the same arguments by the same work."""
        folder = self.folder / "done" / task.id
        try:
            kept = json.loads((folder / RESULT).read_text())
            if kept["of"] != fingerprint(task, work):
                return None
            return TaskResult(task, kept["value"], folder, seconds=kept["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def resume(self, tasks: Sequence[Task], work: str) -> dict[str, TaskResult]:
        """What is done of these tasks, by id; what was done for others is removed."""
        found = {task.id: result for task in tasks if (result := self.result(task, work))}
        for folder in (self.folder / "done").iterdir():
            if folder.name not in found:
                shutil.rmtree(folder, ignore_errors=True)
        return found


def fingerprint(task: Task, work: str) -> str:
    """The same for the same work with the same arguments. Raises InvalidRequest if not JSON."""
    try:
        text = json.dumps([work, dict(task.arguments)], sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"The arguments of task {task.id} are not JSON: {error}.") from None
    return hashlib.sha256(text.encode()).hexdigest()
