# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that --out names: nothing that stands there already is touched."""

from __future__ import annotations

from pathlib import Path

from vila_ros.errors import InvalidRequest


def check_free(out: Path) -> None:
    """Raise InvalidRequest where something but an empty folder stands at out already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidRequest(f"{out} exists already; name another folder by --out, or remove it")
