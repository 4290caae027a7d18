# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Works for the tests, importable in worker processes."""

import errno
import os
import signal
import time
from pathlib import Path

from vila_ros.errors import InvalidRecording


def square(task, folder):
    """number -> its square, as a file and as the value; one line a call in the file `calls`."""
    number = task.arguments["number"]
    if "calls" in task.arguments:
        with open(task.arguments["calls"], "a") as file:
            file.write(f"{task.id}\n")
    time.sleep(task.arguments.get("seconds", 0))
    (folder / "square.txt").write_text(str(number**2))
    (folder / "more").mkdir()
    (folder / "more" / "name.txt").write_text(task.id)
    return number**2


def die_at(task, folder):
    """square(), but kills its process as often as there are files named `die` in a folder."""
    (folder / "half").write_text("written")
    for left in sorted(Path(task.arguments["deaths"]).glob(f"{task.id}-*")):
        left.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(task, folder)


def fail_at_odd(task, folder):
    (folder / "half").write_text("written")
    if task.arguments["number"] % 2:
        raise InvalidRecording(f"number {task.arguments['number']} is odd.")
    return task.arguments["number"]


def defect(task, folder):
    return 1 / 0


def not_json(task, folder):
    return object()


def full_disk(task, folder):
    (folder / "half").write_text("written")
    raise OSError(errno.ENOSPC, "No space left on device", str(folder / "large"))


def no_recording(task, folder):
    Path("/no/such/recording").read_bytes()


def chatty(task, folder):
    print("this is no reply")
    os.write(1, b"nor is this\n")
    return os.getpid()
