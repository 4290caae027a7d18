# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration's child processes, each with its output in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_GRACE = 10.0  # seconds a process gets to end by itself
_TAIL_LINES = 15


class Child:
    """A `vila` verb in its own process; a context manager that ends it.

    It runs in its own session, so that Ctrl-C in the terminal reaches the demonstration alone,
    which then ends its children in order.
    """

    def __init__(
        self, name: str, arguments: list[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        command = [sys.executable, "-m", "vila_ros.nodes.demo.child", str(os.getpid()), *arguments]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def tail(self) -> str:
        """The last lines of its output."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def stop(self) -> None:
        """End it: asked first, then killed, with whatever it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            until = time.monotonic() + _GRACE
            while self._process.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
        with suppress(ProcessLookupError):  # nothing of its session is left
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
