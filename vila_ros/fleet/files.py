# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are whole or not there, and what to say where they cannot be written."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
from contextlib import suppress
from pathlib import Path

from vila_ros.errors import UnusableFolder

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MANY_FILES = 16
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EFBIG)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file beside its place and rename it; a reader sees the old one or the new one.

    Makes the folder. Raises UnusableFolder, after which the old file, if any, is as it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise unwritable(path, error) from error


def is_fatal(error: OSError) -> bool:
    """Whether nothing more can be written to that disk, so that going on is of no use."""
    return error.errno in _FULL or error.errno in _CLOSED


def unwritable(path: Path, error: OSError) -> UnusableFolder:
    """The error for the user."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return UnusableFolder(
            f"'{path}' cannot be written: {reason} ({_free(path)}). Free some space and run the "
            "same command again; what is done is kept."
        )
    return UnusableFolder(f"'{path}' cannot be written: {reason}. Name another folder.")


def _free(path: Path) -> str:
    for folder in (path, *path.parents):
        with suppress(OSError):
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB are free"
    return "no space is free"


def lock_folder(folder: Path) -> int:
    """Keep other runs out of a folder until the number that is returned is closed.

    The system does that however a process ends. Raises UnusableFolder where another run is in it,
    OSError where it cannot be written.
    """
    number = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise UnusableFolder(
            f"Another run writes into '{folder}' now; wait for it, or name another folder."
        ) from None
    return number


def sync(folder: Path) -> None:
    """Wait until a folder's files are on disk. Raises OSError.

    Thousands of pictures would take a journal write each; Linux syncs their file system at once.
    """
    if sum(len(names) for _, _, names in os.walk(folder)) > _MANY_FILES and _sync_all(folder):
        return
    for parent, _, names in os.walk(folder):
        for path in (*(os.path.join(parent, name) for name in names), parent):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)


def _sync_all(folder: Path) -> bool:
    """Wait until a whole file system is on disk; False where the system cannot. Raises OSError."""
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        return False
    number = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(number) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(folder))
    finally:
        os.close(number)
    return True
