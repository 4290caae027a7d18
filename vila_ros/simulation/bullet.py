# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A connection to pybullet, which is optional, and which prints where it is not asked to."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from vila_ros.errors import Unsupported


def connect() -> Any:
    """A client of a physics server in this process. Raises Unsupported without pybullet."""
    with _no_output():
        try:
            import pybullet
            from pybullet_utils.bullet_client import BulletClient
        except ImportError:
            raise Unsupported(
                "Rendered scenes need pybullet, which is not installed: pip install pybullet"
            ) from None
        return BulletClient(connection_mode=pybullet.DIRECT)


@contextmanager
def _no_output() -> Iterator[None]:
    """Keep what C code prints from this process's output; Python's own goes out before."""
    standard_library = ctypes.CDLL(None)
    kept: dict[int, int] = {}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream, python in ((1, sys.stdout), (2, sys.stderr)):
            with suppress(OSError, AttributeError):  # closed: there is nothing to keep clean
                python.flush()
                kept[stream] = os.dup(stream)
                os.dup2(nowhere, stream)
        yield
    finally:
        standard_library.fflush(None)
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
