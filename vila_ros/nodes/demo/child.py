# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Run a `vila` verb as a child of the demonstration: it ends when the demonstration does.

python -m vila_ros.nodes.demo.child PARENT VERB ARGUMENT…
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from vila_ros.cli.main import main

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(parent: int) -> None:
    """Have the kernel send SIGTERM to this process when its parent ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"The process {parent} that started this one has ended.")


if __name__ == "__main__":
    if sys.platform == "linux":
        end_with(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
