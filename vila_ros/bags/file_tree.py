# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Named files in a folder or inside a tar archive, read one at a time.

An archive is never unpacked to named files: a compressed one becomes one nameless temporary file,
which the system frees however the process ends.
"""

from __future__ import annotations

import gzip
import tarfile
import tempfile
import threading
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from vila_ros.errors import InvalidRecording

MAX_ARCHIVE_BYTES = 32 << 30
_BLOCK_BYTES = 1 << 20


class FileTree(Protocol):
    """Files by name, relative to a root."""

    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder of the tree; "." is the root."""

    def read(self, name: str, limit: int) -> bytes:
        """At most `limit` bytes of a file. Raises OSError (KeyError's kin included)."""


class FolderTree:
    """A FileTree of a folder on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str) -> list[str]:
        """See FileTree."""
        return [file.name for file in (self.root / folder).iterdir() if file.is_file()]

    def read(self, name: str, limit: int) -> bytes:
        """See FileTree."""
        with (self.root / name).open("rb") as file:
            return file.read(limit)


class ArchiveTree:
    """A FileTree of a tar archive (.tar, .tar.gz, .tgz); its root is where `marker` lies.

    damage: what ended the reading of the archive early, or the empty string.
    Raises InvalidRecording if it is no archive, lacks the marker, or is too large to unpack.
    """

    def __init__(self, path: Path, marker: str) -> None:
        self.path = path
        self.damage = ""
        self._lock = threading.Lock()
        self._members: dict[PurePosixPath, tarfile.TarInfo] = {}
        try:
            # Both files live as long as this object; the system closes them with it.
            self._archive = tarfile.open(fileobj=self._plain(), mode="r:")  # noqa: SIM115
            for member in self._archive:
                if member.isreg():
                    self._members[PurePosixPath(member.name)] = member
        except tarfile.TarError as error:
            self.damage = self.damage or f"the archive is damaged ({error})"
        roots = [name.parent for name in self._members if name.name == marker]
        if not roots:
            why = f"; {self.damage}" if self.damage else ""
            raise InvalidRecording(f"'{path}' contains no {marker}{why}.")
        self._root = min(roots, key=lambda folder: len(folder.parts))

    def _plain(self) -> BinaryIO:
        """The archive without compression, seekable."""
        source = self.path.open("rb")
        if source.read(2) != b"\x1f\x8b":
            source.seek(0)
            return source
        source.seek(0)
        plain = tempfile.TemporaryFile(prefix="vila_ros_")  # noqa: SIM115
        written = 0
        try:
            with source, gzip.open(source) as packed:
                while block := packed.read1(_BLOCK_BYTES):
                    written += plain.write(block)
                    if written > MAX_ARCHIVE_BYTES:
                        raise InvalidRecording(
                            f"'{self.path}' unpacks to more than {MAX_ARCHIVE_BYTES >> 30} GiB; "
                            "unpack it and open the folder."
                        )
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.damage = f"its gzip stream is damaged or ends early ({error})"
        except OSError as error:
            raise InvalidRecording(
                f"'{self.path}' cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}. "
                "Set TMPDIR to a folder with more space."
            ) from error
        plain.seek(0)
        return cast(BinaryIO, plain)

    def names(self, folder: str) -> list[str]:
        """See FileTree."""
        wanted = self._root / folder
        return [name.name for name in self._members if name.parent == wanted]

    def read(self, name: str, limit: int) -> bytes:
        """See FileTree."""
        member = self._members.get(self._root / name)
        if member is None:
            raise FileNotFoundError(2, "it is not in the archive")
        with self._lock:
            file = self._archive.extractfile(member)
            try:
                return file.read(limit) if file else b""
            except tarfile.TarError as error:
                raise OSError(5, f"the archive is damaged ({error})") from error
