# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Give a task's picture a second name in the export without copying it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vila_ros.fleet.files import unwritable


def link_file(source: Path, target: Path) -> None:
    """The file under another name, by a hard link where the file system has them.

    Does nothing if it is there already. Raises UnusableFolder.
    """
    if target.exists():
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            part = target.with_name(target.name + ".part")
            shutil.copyfile(source, part)
            part.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
