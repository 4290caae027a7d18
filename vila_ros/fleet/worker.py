# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A worker process: `python -m vila_ros.fleet.worker LEDGER WORK`.

Tasks come as JSON, a line each, on stdin, and each is answered by a line on stdout. It ends with
the end of stdin, which comes also when the run that started it was killed, even inside a task.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from vila_ros.fleet.task_run import run_task
from vila_ros.fleet.types import Task


def main() -> int:
    """Do tasks until stdin ends."""
    ledger, work = Path(sys.argv[1]), sys.argv[2]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the run, which ends its workers
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the work prints must not be taken for a reply
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        if busy.is_set():
            os._exit(1)  # nobody waits for the task any more
        lines.put(None)

    busy = threading.Event()
    threading.Thread(target=read, name="vila-tasks", daemon=True).start()
    while (line := lines.get()) is not None:
        busy.set()
        outcome = run_task(Task(**json.loads(line)), work, ledger)
        busy.clear()
        print(json.dumps(asdict(outcome)), file=replies, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
