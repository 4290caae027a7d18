# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The process in which an engine runs: python -m vila_ros.engine.worker --socket FD --parent PID.

The node's SupervisedEngine starts it with one end of a socket pair, says which engine to build,
and speaks vila_ros.engine.wire with it. Requests run in a thread each. Another thread sends
heartbeats, so that a worker that is stopped, or whose interpreter is blocked, falls silent.

The interpreter needs numpy and what the runtime needs; neither rclpy nor this package need be
installed in it. An engine may have, beside the Engine interface, a method
`device_memory_bytes() -> int`, whose answer is sent with every heartbeat.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from vila_ros import __version__
from vila_ros.engine.codec import (
    decode_request,
    decode_spec,
    encode_capabilities,
    encode_chunk,
    encode_error,
    take,
)
from vila_ros.engine.interface import Engine, EngineSpec, GenerationRequest, TextChunk
from vila_ros.engine.registry import create_engine
from vila_ros.engine.wire import Connection, Kind, ProtocolError, WireMessage
from vila_ros.errors import (
    Cancelled,
    DeviceLost,
    EngineDown,
    EngineFailed,
    OutOfMemory,
    QueueFull,
    VilaError,
    device_lost,
    is_device_lost,
)

# By name: run as a program, this module's is __main__.
logger = logging.getLogger("vila_ros.engine.worker")

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Between 0 and 1000; added to the score by which the kernel chooses what to kill (proc(5)). The
# worker holds most of the memory and can be restarted, the robot's other processes cannot.
OOM_SCORE_ADJUSTMENT = 500
QUIET_OPENMP = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}


class Worker:
    """Serves one engine over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._loaded = False
        self._requests: dict[int, str] = {}
        self._cancelled: set[int] = set()
        self._tokens = 0
        self._lost: DeviceLost | None = None
        self._max_requests = 0

    def serve(self) -> None:
        """Load the engine the node names, then answer until the node hangs up.

        Raises DeviceLost once the engine has reported it: the node starts another worker.
        """
        self._connection.send(
            Kind.HELLO,
            {"pid": os.getpid(), "python": platform.python_version(), "package": __version__},
        )
        start = self._connection.receive()
        if start is None:
            return
        if start.kind is not Kind.START:
            raise ProtocolError(f"The node began with {start.kind.name}, not with START.")
        self._max_requests = take(start.fields, "max_requests", int)
        spec = decode_spec(take(start.fields, "spec", dict))
        interval = take(start.fields, "heartbeat_interval", float)
        _start_thread("load", self._load, spec)
        _start_thread("heartbeat", self._beat, interval)
        try:
            while (message := self._connection.receive()) is not None:
                self._handle(message)
        except ProtocolError:
            # Its own end of the reading may have cut a message short.
            if self._lost is None:
                raise
        if self._lost is not None:
            raise self._lost

    def close(self) -> None:
        """Release the engine, unless its device is lost, where that may hang."""
        if self._engine is not None and self._lost is None:
            self._engine.close()

    def _load(self, spec: EngineSpec) -> None:
        with _hung_up_is_fine():
            try:
                self._engine = create_engine(spec)
                capabilities = self._engine.load()
                self._loaded = True
                self._connection.send(Kind.READY, encode_capabilities(capabilities))
            except BaseException as error:
                self._connection.send(Kind.LOAD_FAILED, encode_error(as_vila_error(error, "load")))

    def _handle(self, message: WireMessage) -> None:
        number = take(message.fields, "number", int)
        if message.kind is Kind.CANCEL:
            self._cancel(number)
        elif message.kind is Kind.REQUEST:
            request = decode_request(message.fields, message.payload)
            try:
                engine = self._accept(number, request)
            except VilaError as error:
                self._fail(number, error)
            else:
                _start_thread(request.request_id, self._answer, engine, number, request)
        else:
            raise ProtocolError(f"A node does not send {message.kind.name}.")

    def _accept(self, number: int, request: GenerationRequest) -> Engine:
        with self._lock:
            if self._engine is None or not self._loaded:
                raise EngineDown("The engine's model is not loaded yet.")
            if len(self._requests) >= self._max_requests:
                raise QueueFull(f"{self._max_requests} requests are in the engine, its limit.")
            self._requests[number] = request.request_id
            return self._engine

    def _cancel(self, number: int) -> None:
        with self._lock:
            name = self._requests.get(number)
            if name is None or self._engine is None:
                return
            self._cancelled.add(number)
        self._cancel_in_engine(name)

    def _answer(self, engine: Engine, number: int, request: GenerationRequest) -> None:
        failure: VilaError | None = None
        try:
            self._stream(engine.generate(request), number)
        except BaseException as error:
            failure = as_vila_error(error, "generation")
        with self._lock:
            del self._requests[number]
            self._cancelled.discard(number)
        if failure is not None:
            self._fail(number, failure)
        if isinstance(failure, DeviceLost):
            self._lost = failure
            self._connection.stop_receiving()

    def _stream(self, chunks: Iterator[TextChunk], number: int) -> None:
        """Send an answer's chunks; the last one only when the engine has let go of the request."""
        last: TextChunk | None = None
        tokens = 0
        try:
            for chunk in chunks:
                if number in self._cancelled:
                    raise Cancelled("The request was cancelled.")
                self._tokens += max(chunk.tokens - tokens, 0)
                tokens = max(chunk.tokens, tokens)
                if chunk.finish_reason is not None:
                    last = chunk
                    break
                self._connection.send(Kind.CHUNK, encode_chunk(chunk, number))
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        if last is None:
            raise EngineFailed("The engine's answer ended without a finish reason.")
        self._connection.send(Kind.CHUNK, encode_chunk(last, number))

    def _fail(self, number: int, error: VilaError) -> None:
        with _hung_up_is_fine():
            self._connection.send(Kind.FAILED, {"number": number, **encode_error(error)})

    def _beat(self, interval: float) -> None:
        with _hung_up_is_fine():
            while True:
                with self._lock:
                    names = [self._requests[number] for number in self._cancelled]
                    in_flight = len(self._requests)
                # A cancel that came between generate() and its first step may have been ignored as
                # that of an unknown request.
                for name in names:
                    self._cancel_in_engine(name)
                beat = {
                    "memory_bytes": resident_bytes(),
                    "device_memory_bytes": self._device_memory(),
                    "in_flight": in_flight,
                    "tokens": self._tokens,
                }
                self._connection.send(Kind.HEARTBEAT, beat)
                time.sleep(interval)

    def _cancel_in_engine(self, name: str) -> None:
        try:
            if self._engine is not None:
                self._engine.cancel(name)
        except Exception:
            logger.exception("The engine's cancel() raised an error")

    def _device_memory(self) -> int:
        measure = getattr(self._engine, "device_memory_bytes", None)
        try:
            return int(measure()) if measure is not None else 0
        except Exception:
            logger.exception("The engine's device_memory_bytes() raised an error")
            return 0


class LeveledLines(logging.Formatter):
    """Marks every line of a record by its level, as "[WARNING] …", for the node to log it by.

    Records go to stderr rather than through the socket: what is in the pipe survives an abort, and
    a destructor that logs cannot wait for a lock its own thread holds.
    """

    def format(self, record: logging.LogRecord) -> str:
        """All lines of the record, its traceback included."""
        lines = f"{record.name}: {super().format(record)}".splitlines()
        return "\n".join(f"[{record.levelname}] {line}" for line in lines)


def as_vila_error(error: BaseException, what: str) -> VilaError:
    """The error to report for anything that a runtime raised; unforeseen ones are logged."""
    if isinstance(error, VilaError):
        return error
    logger.error("The engine's %s raised an unforeseen error", what, exc_info=error)
    says = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if is_device_lost(error):
        return device_lost(error, f"the engine's {what} ran")
    # torch.cuda.OutOfMemoryError and its kin, without importing any runtime.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return OutOfMemory(f"The engine's {what} ran out of memory ({says}).")
    return EngineFailed(f"The engine's {what} failed with {says}.")


def resident_bytes() -> int:
    """Memory of this process that is in RAM, bytes; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends, on Linux.

    Elsewhere the closed socket ends the worker, unless the engine blocks its main thread.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"The node's process {parent} has ended; so does its worker.")


def offer_to_oom_killer() -> None:
    """Ask the kernel to take this process first when memory runs out, rather than the node."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJUSTMENT))


@contextlib.contextmanager
def _hung_up_is_fine() -> Iterator[None]:
    """A node that has gone ends the worker by its main thread; others just stop sending."""
    try:
        yield
    except OSError as error:
        logger.debug("The node has hung up: %s", error)


def _start_thread(name: str, target: object, *args: object) -> None:
    # Daemons: the process ends when its main thread does, whatever the engine's threads do.
    threading.Thread(target=target, args=args, name=name, daemon=True).start()  # type: ignore[arg-type]


def main() -> int:
    """Serve until the node hangs up or SIGTERM comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", type=int, required=True, help="inherited file descriptor")
    parser.add_argument("--parent", type=int, required=True, help="process id of the node")
    options = parser.parse_args()
    faulthandler.enable()
    die_with_parent(options.parent)
    offer_to_oom_killer()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Read by OpenMP when a runtime loads it: threads that spin while waiting starve the robot.
    os.environ.update({k: os.environ.get(k, v) for k, v in QUIET_OPENMP.items()})
    # The engine's own child processes must not hold the connection open after a crash.
    os.set_inheritable(options.socket, False)
    connection = Connection(socket.socket(fileno=options.socket))
    log = logging.StreamHandler()
    log.setFormatter(LeveledLines())
    logging.basicConfig(level=logging.INFO, handlers=[log])
    logging.captureWarnings(True)
    worker = Worker(connection)
    try:
        worker.serve()
    finally:
        worker.close()
    return 0


if __name__ == "__main__":
    status = 1
    try:
        status = main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except Exception as error:
        print(f"vila_ros.engine.worker: {type(error).__name__}: {error}", file=sys.stderr)
    # Not sys.exit: tearing an interpreter down under a runtime's threads crashes or hangs.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
