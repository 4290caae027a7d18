# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that a run writes: empty, or of the same run; nothing of another is touched.

What makes two runs the same are their parameters: the same command goes on where it was stopped,
and does nothing once it is complete. The run's own notes are in a hidden folder, so that what the
run made is the rest and is the same bytes wherever it was made:

    OUT/.vila/run.json    what the run is, and whether it is complete
    OUT/.vila/ledger/     the tasks that are done, until it is complete
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vila_ros import __version__
from vila_ros.errors import InvalidRequest, UnusableFolder
from vila_ros.fleet.files import lock_folder, unwritable, write_whole

NOTES = ".vila"
_SHOWN = 80  # characters of a parameter's value in a message


class OutputFolder:
    """A run's output; a context manager that keeps other runs out while it is open.

    kind: what writes it, as "vila export". parameters: JSON values, all that the output depends on;
    of recordings, what recording_identity() says.
    Raises UnusableFolder for a folder with other content, of another run, in which another run
    writes now, or which cannot be written.
    """

    def __init__(self, path: Path, kind: str, parameters: Mapping[str, Any]) -> None:
        self.path = path
        self.kind = kind
        try:
            # Through JSON, so that it compares equal with what was read back.
            self._parameters = json.loads(json.dumps(dict(parameters), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"The parameters of {kind} are not JSON: {error}.") from None
        self._notes = path / NOTES / "run.json"
        self._lock = -1
        self.complete = False

    @property
    def ledger(self) -> Path:
        """For run_tasks()."""
        return self.path / NOTES / "ledger"

    def __enter__(self) -> OutputFolder:
        self._check()
        try:
            self._notes.parent.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self._notes.parent)
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self.complete = self._check()  # again: a run may have ended in between
            if not self._notes.exists():
                self._note()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def write(self, name: str, data: bytes | str) -> Path:
        """Write a file of the output, whole or not at all; returns its path.

        name: relative, with "/" for folders. Raises UnusableFolder.
        """
        path = self._inside(name)
        write_whole(path, data)
        return path

    def adopt(self, source: Path, name: str) -> Path:
        """Move a task's file or folder into the output, taking the place of an older one.

        name: as in write(). Raises UnusableFolder.
        """
        path = self._inside(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.rmtree(path)
            shutil.move(source, path)
        except OSError as error:
            raise unwritable(path, error) from error
        return path

    def finish(self) -> None:
        """Note that the output is complete, and remove what was kept to go on."""
        self.complete = True
        self._note()
        shutil.rmtree(self.ledger, ignore_errors=True)

    def _inside(self, name: str) -> Path:
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts or parts[0] == NOTES:
            raise InvalidRequest(f"{name!r} is no name inside of '{self.path}'.")
        return self.path / name

    def _identity(self) -> dict[str, Any]:
        """What makes two runs the same; another version of this package may give other bytes."""
        return {"run": self.kind, "version": __version__, "parameters": self._parameters}

    def _note(self) -> None:
        notes = {**self._identity(), "complete": self.complete}
        write_whole(self._notes, json.dumps(notes, indent=1, sort_keys=True) + "\n")

    def _check(self) -> bool:
        """Whether it is complete already. Raises UnusableFolder for a folder of something else."""
        try:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                return False
            if not self.path.is_dir():
                raise UnusableFolder(f"'{self.path}' is a file; name a folder.")
            others = sorted(entry.name for entry in self.path.iterdir() if entry.name != NOTES)
            notes = json.loads(self._notes.read_text()) if self._notes.exists() else None
        except OSError as error:
            raise unwritable(self.path, error) from error
        except ValueError:
            raise UnusableFolder(
                f"'{self._notes}' is damaged, so it is not known which run '{self.path}' is of; "
                "name another folder."
            ) from None
        if notes is None:
            if others:
                raise UnusableFolder(
                    f"'{self.path}' holds {len(others)} files that no run of {self.kind} made "
                    f"({', '.join(others[:3])}{', …' if len(others) > 3 else ''}); name an empty "
                    "folder."
                )
            return False
        if any(notes.get(name) != value for name, value in self._identity().items()):
            raise UnusableFolder(
                f"'{self.path}' is of another run: {self._difference(notes)}. Name another folder, "
                "or remove this one."
            )
        return bool(notes.get("complete"))

    def _difference(self, notes: Mapping[str, Any]) -> str:
        if notes.get("run") != self.kind:
            return f"it is of {notes.get('run')}, this is {self.kind}"
        told = list(_differences("", notes.get("parameters") or {}, self._parameters))
        if notes.get("version") != __version__:
            told.append(f"version was {notes.get('version')}, now it is {__version__}")
        return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")


def recording_identity(path: Path) -> dict[str, Any]:
    """What tells a recording from another of the same name: its place and the bytes it has.

    Its files' times are left out: a copy is the same recording.
    """
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {"path": str(path.absolute()), "bytes": sum(each.stat().st_size for each in files)}


def model_identity(model: str) -> dict[str, Any]:
    """What tells a model from another of the same name: of a folder, its files' sizes and times,
    for a model that was trained anew is as large as before. A hub id stands for itself."""
    folder = Path(model)
    if not folder.is_dir():
        return {"name": model}
    files = sorted(
        (str(each.relative_to(folder)), each.stat().st_size, each.stat().st_mtime_ns)
        for each in folder.rglob("*")
        if each.is_file()
    )
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    return {"name": str(folder.absolute()), "files": digest[:16]}


def _differences(name: str, before: Any, now: Any) -> Iterator[str]:
    """A line for each value that differs, inside of objects and texts as well."""
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            inner = f"{name}.{key}" if name else key
            yield from _differences(inner, before.get(key), now.get(key))
    elif isinstance(before, str) and isinstance(now, str) and "\n" in before + now:
        lines = zip_longest(before.split("\n"), now.split("\n"))
        number, (old, new) = next(
            (number, pair) for number, pair in enumerate(lines, start=1) if pair[0] != pair[1]
        )
        yield f"line {number} of {name} was {_short(old)}, now it is {_short(new)}"
    else:
        yield f"{name} was {_short(before)}, now it is {_short(now)}"


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
