# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A worker as the operating system sees it: interpreter, environment, output, end.

The worker leads a process group of its own, so that Ctrl-C in the node's terminal leaves its end
to the node, and so that killing it also kills whatever it started.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vila_ros.errors import EngineDown, InvalidRequest, Unsupported

PACKAGE = Path(__file__).resolve().parent.parent
MODULE = "vila_ros.engine.worker"

# What another interpreter runs: this very package, whatever is installed there, without putting
# the folder it lies in, which may hold the node's whole environment, on the path.
ENTRY = f"""
import importlib.util, runpy, sys
if sys.version_info < (3, 10):
    sys.exit(sys.executable + " is Python " + sys.version.split()[0] + "; 3.10 or newer is needed.")
sys.path[:] = [entry for entry in sys.path if entry]
folder = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "{PACKAGE.name}", folder + "/__init__.py", submodule_search_locations=[folder])
package = sys.modules["{PACKAGE.name}"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
runpy.run_module("{MODULE}", run_name="__main__", alter_sys=True)
"""

# Of the node's environment, what leads another interpreter astray. The last one tells the start-up
# hook of the ROS 2 wheels that the library path is set already, which is true of the node alone.
FOREIGN_VARIABLES = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)
PREFIX_VARIABLES = ("AMENT_PREFIX_PATH", "COLCON_PREFIX_PATH")

MAX_LINE_BYTES = 8192
TAIL_LINES = 40
# How long a worker that hung up may take to end by itself, and its output to arrive, seconds.
END_GRACE = 0.5
# How long the kernel may take to end one that was killed, seconds.
KILL_GRACE = 5.0
POLL_INTERVAL = 0.005


class WorkerStuck(EngineDown):
    """A worker that does not end although it was killed."""


class WorkerProcess:
    """A running worker and the node's end of its socket.

    on_log gets the level (of logging) and the text of each line that the process writes to stdout
    or stderr, in a thread of its own.
    """

    def __init__(self, interpreter: str | None, on_log: Callable[[int, str], None]) -> None:
        """Start it. interpreter: None for the node's own; see resolve_interpreter.

        Must be called in a thread that outlives the worker: the kernel ties the worker's life to
        the thread that started it (PR_SET_PDEATHSIG).

        Raises InvalidRequest or Unsupported if the interpreter cannot be run.
        """
        program = resolve_interpreter(interpreter)
        own = is_own_interpreter(program)
        entry = ["-m", MODULE] if own else ["-c", ENTRY, str(PACKAGE)]
        self.socket, theirs = socket.socketpair()
        command = [program, *entry, "--socket", str(theirs.fileno()), "--parent", str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=worker_environment(own, os.environ, sys.path),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            self.socket.close()
            raise Unsupported(
                f"The engine's interpreter {program} cannot be run: {error}."
            ) from None
        finally:
            theirs.close()
        self._on_log = on_log
        self._stuck: WorkerStuck | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._output = threading.Thread(target=self._read_output, name="worker output", daemon=True)
        self._output.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def end(self, grace: float) -> None:
        """Send SIGTERM, after `grace` seconds SIGKILL."""
        if not self.has_exited():
            self._process.send_signal(signal.SIGTERM)
        self._await_exit(grace)
        self.kill()

    def kill(self) -> None:
        """Kill the worker and everything it has started, at once."""
        # Until it is reaped, its id cannot become another group's.
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self, *, killed_because: str = "") -> str:
        """Wait for the end of a worker that has hung up or been killed; says how it ended.

        killed_because: why the node killed it; without, a worker that does not end is killed.

        Raises WorkerStuck if it does not even end then, and at once when asked again.
        """
        if self._stuck is None or self.has_exited():
            self._await_exit(END_GRACE)
            self.kill()
            self._await_exit(KILL_GRACE)
        if not self.has_exited():
            self._stuck = self._stuck or WorkerStuck(
                f"{killed_because} The engine's worker, process {self.pid}, cannot be killed: it "
                "is stuck in the kernel, most often in a GPU's driver. Look at dmesg; a restart of "
                "the machine may be needed.".strip()
            )
            raise self._stuck
        status = self._process.wait()
        self._output.join(END_GRACE)
        how = killed_because or describe_exit(status)
        words = last_words(self._tail)
        return f"{how} Its last line was '{words}'." if words else how

    def has_exited(self) -> bool:
        """True once it has ended; leaves it to be reaped."""
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        try:
            return os.waitid(os.P_PID, self.pid, flags) is not None
        except ChildProcessError:
            # Reaped by the kernel, because the node ignores SIGCHLD.
            return True

    def _await_exit(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.has_exited() and time.monotonic() < end:
            time.sleep(POLL_INTERVAL)

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                shown = printable(line)
                if shown:
                    level, text = split_level(shown)
                    self._tail.append(text)
                    self._on_log(level, text)


def resolve_interpreter(interpreter: str | None) -> str:
    """The program to run: None is the node's own, a bare name is looked up on PATH.

    Raises InvalidRequest if there is no such program.
    """
    if interpreter is None:
        return sys.executable
    found = shutil.which(os.path.expanduser(interpreter))
    if found is None:
        raise InvalidRequest(
            f"The engine's interpreter '{interpreter}' is not an executable file. Give the path of "
            "a Python 3.10 or newer that has numpy and the runtime, or leave it empty."
        )
    return os.path.abspath(found)


def is_own_interpreter(program: str) -> bool:
    """Whether a program is the interpreter of this process, in the same virtual environment.

    The links of virtual environments all lead to one program, so the folder decides as well.
    """
    folders = [os.path.realpath(os.path.dirname(path)) for path in (program, sys.executable)]
    return folders[0] == folders[1] and os.path.samefile(program, sys.executable)


def worker_environment(
    own: bool, environment: Mapping[str, str], path: Sequence[str]
) -> dict[str, str]:
    """The worker's environment variables.

    own: whether it runs in the node's own interpreter, where it finds every module that the node
    finds (path: the node's sys.path). Any other interpreter finds its own modules and libraries:
    what ROS has added for the node's is taken out.
    """
    result = dict(environment)
    if own:
        result["PYTHONPATH"] = os.pathsep.join(added_paths(path))
    else:
        for name in FOREIGN_VARIABLES:
            result.pop(name, None)
        libraries = foreign_libraries_removed(environment)
        result.pop("LD_LIBRARY_PATH", None)
        if libraries:
            result["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    # Lines reach the log as they are printed, and modules are not looked for in the working folder.
    result["PYTHONUNBUFFERED"] = result["PYTHONSAFEPATH"] = "1"
    return result


def added_paths(path: Sequence[str]) -> Iterator[str]:
    """The folders of a sys.path which this interpreter does not add at every start, absolute."""
    own = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    own.add(site.getusersitepackages())
    own |= {os.path.join(folder, "lib-dynload") for folder in (*own,)}
    absolute = (os.path.abspath(entry) for entry in path)
    return (entry for entry in absolute if entry not in own and os.path.exists(entry))


def foreign_libraries_removed(environment: Mapping[str, str]) -> list[str]:
    """The folders of LD_LIBRARY_PATH outside the ROS prefixes and the node's own environment."""
    prefixes = [sys.prefix] if sys.prefix != sys.base_prefix else []
    for name in PREFIX_VARIABLES:
        prefixes += environment.get(name, "").split(os.pathsep)
    roots = [Path(prefix) for prefix in prefixes if prefix]
    folders = environment.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return [
        folder
        for folder in folders
        if folder and not any(Path(folder).is_relative_to(root) for root in roots)
    ]


def printable(line: bytes) -> str:
    """A line of output as a terminal would show it at last, with what is not text escaped."""
    # Progress bars rewrite their line behind a carriage return.
    text = line.decode(errors="backslashreplace").rstrip().rpartition("\r")[2]
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in text)


def split_level(line: str) -> tuple[int, str]:
    """Level and text of a line that the worker's logging has marked; INFO for any other line."""
    mark, separator, text = line.partition("] ")
    level = logging.getLevelName(mark[1:]) if separator and mark.startswith("[") else None
    return (level, text) if isinstance(level, int) else (logging.INFO, line)


def describe_exit(status: int) -> str:
    """How a worker ended; status as in Popen.returncode."""
    if status >= 0:
        return f"The engine's worker exited with status {status}."
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = (
        " (kill -9, or the kernel for want of memory: see dmesg)"
        if -status == signal.SIGKILL
        else ""
    )
    return f"The engine's worker was killed by {name}{hint}."


def last_words(lines: Sequence[str]) -> str:
    """The last line before Python's dump of stacks at a fatal signal, or the last line at all."""
    fatal = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if fatal is None:
        return lines[-1] if lines else ""
    return lines[fatal - 1] if fatal > 0 else lines[fatal]
