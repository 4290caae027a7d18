# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node sees of a worker that crashes, hangs, or cannot load: an error code, and then an
engine that answers again."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from test.engine.conftest import PATIENCE, answers_again, request, text_of, wait_until
from vila_ros.engine.supervision import EngineState, SupervisionPolicy
from vila_ros.engine.worker_process import WorkerProcess
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    InvalidCheckpoint,
    InvalidRequest,
)

ENDLESS = " ".join(["word"] * 4000)
NEVER = 1000.0


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def quick(**changed: float) -> SupervisionPolicy:
    """Restarts at once, sees a hang soon."""
    return SupervisionPolicy(**({"heartbeat_interval": 0.05, "backoff_first": 0.01} | changed))


def test_kill_9_in_the_middle_of_an_answer(supervised):
    engine = supervised(delay=0.01)
    worker = engine.status().worker_pid
    stream = engine.generate(request(ENDLESS, max_tokens=4000))
    while next(stream).tokens < 3:
        pass
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(EngineDown, match=r"killed by SIGKILL \(kill -9.* started again in 0.01 s"):
        text_of(stream)
    engine.load()
    assert text_of(engine.generate(request("next"))) == "next"
    status = engine.status()
    assert status.restarts == 1
    assert status.worker_pid != worker
    assert "SIGKILL" in status.last_error


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("!abort", "killed by SIGABRT. Its last line was 'obeying !abort'"),
        ("!segfault", "killed by SIGSEGV. Its last line was 'obeying !segfault'"),
        ("!kill", "killed by SIGKILL"),
        ("!orphan", "killed by SIGKILL"),
        ("!exit", "exited with status 7. Its last line was 'obeying !exit'"),
    ],
)
def test_a_worker_that_dies_fails_what_is_in_flight_and_comes_back(supervised, command, says):
    engine = supervised()
    stream = engine.generate(request(f"one two {command}"))
    tokens = 0
    while tokens < 2:
        tokens = next(stream).tokens
    with pytest.raises(EngineDown) as down:
        next(stream)
    assert says in down.value.message
    engine.load()
    assert text_of(engine.generate(request("next"))) == "next"


def test_a_worker_whose_device_is_lost_is_replaced(supervised):
    lines = []
    engine = supervised(delay=0.01, on_log=lambda level, line: lines.append(line))
    other = engine.generate(request(ENDLESS, max_tokens=4000))
    with pytest.raises(EngineDown, match=r"illegal memory access.*is started again"):
        text_of(engine.generate(request("one !cuda")))
    with pytest.raises(EngineDown, match=r"status 1.*DeviceLost.*illegal memory access"):
        text_of(other)
    engine.load()
    assert text_of(engine.generate(request("next"))) == "next"
    assert engine.status().restarts == 1


def test_every_request_in_flight_is_failed(supervised):
    engine = supervised(delay=0.01)
    streams = [engine.generate(request(ENDLESS, max_tokens=4000)) for _ in range(20)]
    next(streams[0])
    os.kill(engine.status().worker_pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(EngineDown):
            text_of(stream)
    assert engine.status().in_flight == 0


def test_a_stopped_worker_is_found_by_its_silence(supervised):
    engine = supervised(policy=quick(heartbeat_timeout=1.0))
    with pytest.raises(EngineDown, match="no sign of life for 1 s"):
        text_of(engine.generate(request("one !freeze")))
    answers_again(engine)


def test_a_request_without_progress_ends_the_worker(supervised):
    engine = supervised(policy=quick(stall_timeout=0.5))
    with pytest.raises(EngineDown, match=r"no progress with the request 'stuck' for 0.5 s"):
        text_of(engine.generate(request("one !hang", request_id="stuck")))
    answers_again(engine)


def test_an_engine_that_begins_no_request_ends_the_worker(supervised):
    engine = supervised(max_concurrency=0, policy=quick(stall_timeout=0.5))
    with pytest.raises(EngineDown, match="no progress with any request"):
        text_of(engine.generate(request("waits for ever")))


def test_a_request_that_waits_while_others_progress_is_not_stalled(supervised):
    engine = supervised(delay=0.1, max_concurrency=1, policy=quick(stall_timeout=2.0))
    first = engine.generate(request(" ".join(["word"] * 25)))
    second = engine.generate(request("next"))
    assert text_of(first).endswith("word")
    assert text_of(second) == "next"
    assert engine.status().restarts == 0


def test_a_stuck_worker_holds_no_request_past_its_deadline_and_is_replaced(supervised):
    lines = []
    engine = supervised(
        policy=quick(stall_timeout=0.5), on_log=lambda level, line: lines.append(line)
    )
    ends = []
    while "obeying !hang" not in lines:  # which a busy machine may not reach in time
        with pytest.raises((DeadlineExceeded, EngineDown)) as end:
            text_of(engine.generate(request("one !hang", deadline=time.monotonic() + 0.2)))
        ends.append(end.type)
    assert DeadlineExceeded in ends
    wait_until(lambda: engine.status().restarts >= 1)
    answers_again(engine)


def test_a_thread_that_is_deaf_to_cancel_is_found_while_other_requests_progress(supervised):
    lines = []
    engine = supervised(
        delay=0.01, policy=quick(stall_timeout=0.5), on_log=lambda level, line: lines.append(line)
    )
    other = engine.generate(request(ENDLESS, max_tokens=4000))
    deaf = engine.generate(request("!hang", request_id="deaf"))
    wait_until(lambda: "obeying !hang" in lines)
    deaf.close()
    with pytest.raises(EngineDown, match="did not end the cancelled request 'deaf'"):
        text_of(other)


@pytest.mark.parametrize("command", ["!hang", "!freeze"])
def test_cancel_works_at_once_on_a_stuck_worker(supervised, command):
    lines = []
    engine = supervised(
        policy=quick(heartbeat_timeout=NEVER, stall_timeout=NEVER, close_grace=0.1),
        on_log=lambda level, line: lines.append(line),
    )
    asked = request(f"one {command}")
    stream = engine.generate(asked)
    wait_until(lambda: f"obeying {command}" in lines)
    engine.cancel(asked.request_id)
    with pytest.raises(Cancelled):
        text_of(stream)


def test_a_worker_that_does_not_read_blocks_no_asker(supervised):
    engine = supervised(policy=quick(heartbeat_timeout=NEVER, close_grace=0.1))
    os.kill(engine.status().worker_pid, signal.SIGSTOP)
    more_than_the_socket_holds = "word " * 2_000_000
    for _ in range(3):
        asked = request(more_than_the_socket_holds, deadline=time.monotonic() + 0.1)
        with pytest.raises(DeadlineExceeded):
            text_of(engine.generate(asked))


def test_while_it_comes_back_a_request_fails_at_once_with_state_and_expected_wait(supervised):
    engine = supervised(policy=quick(backoff_first=NEVER, backoff_max=NEVER))
    with pytest.raises(EngineDown):
        text_of(engine.generate(request("!kill")))
    with pytest.raises(
        EngineDown, match=r"RESTARTING after: .*SIGKILL.* back in about 1\d{3}\.\d s"
    ):
        text_of(engine.generate(request("too early")))
    engine.close()


def test_while_it_loads_a_request_fails_at_once_and_close_does_not_wait(supervised):
    engine = supervised(load=False, load_time=NEVER, policy=quick(close_grace=0.1))
    engine.start()
    failed = []

    def load() -> None:
        with pytest.raises(EngineDown, match="closed while it loaded"):
            engine.load()
        failed.append(True)

    loader = threading.Thread(target=load, daemon=True)
    loader.start()
    with pytest.raises(EngineDown, match="STARTING: 'double' has been loading for"):
        text_of(engine.generate(request("too early")))
    engine.close()
    loader.join()
    assert failed


def test_a_load_that_hangs_is_ended(supervised):
    policy = quick(load_timeout=0.5, load_attempts=1, failed_retry=NEVER)
    engine = supervised(load=False, load_does="!freeze", policy=policy)
    with pytest.raises(EngineDown, match=r"had not loaded after 0.5 s"):
        engine.load()


def test_a_bad_checkpoint_is_said_once_and_tried_again_on_demand(supervised, tmp_path):
    needed = tmp_path / "model"
    seen = []
    engine = supervised(
        load=False,
        load_needs=str(needed),
        policy=quick(failed_retry=NEVER),
        on_status=lambda status: seen.append(status.state),
    )
    with pytest.raises(InvalidCheckpoint, match="model does not exist"):
        engine.load()
    with pytest.raises(EngineDown, match=r"FAILED after: .*does not exist.* tried again in 1000 s"):
        text_of(engine.generate(request("no")))
    assert seen == [EngineState.STARTING, EngineState.FAILED]
    needed.touch()
    engine.load()
    assert text_of(engine.generate(request("next"))) == "next"


def test_a_failed_engine_comes_back_by_itself(supervised, tmp_path):
    needed = tmp_path / "model"
    engine = supervised(load=False, load_needs=str(needed), policy=quick(failed_retry=0.05))
    with pytest.raises(InvalidCheckpoint):
        engine.load()
    needed.touch()
    wait_until(lambda: engine.status().state is EngineState.READY)


@pytest.mark.parametrize(
    ("runtime", "options", "says"),
    [
        ("tensorflow", {}, "'tensorflow' is not known. Known are .*'torch'"),
        ("test.doubles:EchoEngine", {"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_wrong_runtime_or_option_fails_the_load(supervised, runtime, options, says):
    engine = supervised(runtime, load=False, policy=quick(failed_retry=NEVER), **options)
    with pytest.raises(InvalidRequest, match=says):
        engine.load()
    assert engine.status().restarts == 0


@pytest.mark.parametrize(
    ("command", "error"),
    [("!abort", EngineDown), ("!raise", EngineFailed), ("!sysexit", EngineFailed)],
)
def test_loads_that_crash_are_tried_a_few_times(supervised, command, error):
    policy = quick(load_attempts=3, failed_retry=NEVER)
    engine = supervised(load=False, load_does=command, policy=policy)
    with pytest.raises(error):
        engine.load()
    assert engine.status().restarts == 2
    assert engine.status().state is EngineState.FAILED


def test_what_a_worker_prints_is_logged_and_harms_nothing(supervised):
    lines = []
    engine = supervised(on_log=lambda level, line: lines.append(line))
    assert text_of(engine.generate(request("one !garbage two"))) == "one !garbage two"
    engine.close()
    assert "obeying !garbage" in lines
    assert any(line.startswith(r"VRW1\xff\xfe\x00 not a message") for line in lines)


def test_what_a_worker_has_started_ends_with_it(supervised):
    engine = supervised(policy=quick(backoff_first=NEVER, backoff_max=NEVER))
    child = int(text_of(engine.generate(request("!child"))))
    assert is_running(child)
    with pytest.raises(EngineDown):
        text_of(engine.generate(request("!abort")))
    wait_until(lambda: not is_running(child))


def test_a_worker_that_cannot_be_killed_is_said_and_blocks_nothing(supervised, monkeypatch):
    """As one in uninterruptible sleep, where SIGKILL stays pending."""
    monkeypatch.setattr(WorkerProcess, "kill", lambda self: None)
    monkeypatch.setattr("vila_ros.engine.worker_process.KILL_GRACE", 0.1)
    engine = supervised(policy=quick(stall_timeout=0.5, close_grace=0.1, failed_retry=NEVER))
    pids = [engine.status().worker_pid]
    try:
        with pytest.raises(EngineDown, match=f"no progress.*process {pids[0]}, cannot be killed"):
            text_of(engine.generate(request("one !hang")))
        assert engine.status().state is EngineState.FAILED
        engine.load()
        pids.append(engine.status().worker_pid)
        assert text_of(engine.generate(request("next"))) == "next"
        os.kill(pids[1], signal.SIGSTOP)
        engine.close()
        assert engine.status().state is EngineState.STOPPED
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def test_close_does_not_wait_for_ever_for_the_supervisor(supervised, monkeypatch):
    monkeypatch.setattr("vila_ros.engine.supervisor.CLOSE_LIMIT", 0.1)
    go_on = threading.Event()
    lines = []

    def block(status):
        if threading.current_thread().name == "engine supervisor":
            go_on.wait(PATIENCE)

    engine = supervised(
        policy=quick(close_grace=0.1),
        on_status=block,
        on_log=lambda level, line: lines.append(line),
    )
    engine.close()
    assert any("supervisor does not end" in line for line in lines)
    assert not go_on.is_set()
    go_on.set()
    wait_until(lambda: not engine._thread.is_alive())
    engine.close()
    assert engine.status().state is EngineState.STOPPED


def test_close_kills_a_worker_that_does_not_listen(supervised):
    engine = supervised(policy=quick(heartbeat_timeout=NEVER, close_grace=0.1))
    worker = engine.status().worker_pid
    os.kill(worker, signal.SIGSTOP)
    engine.close()
    assert not is_running(worker)


def test_a_missing_interpreter_is_refused_by_name(supervised):
    with pytest.raises(InvalidRequest, match="'/no/python' is not an executable file"):
        supervised(interpreter="/no/python", load=False)


def program(folder: Path, body: str) -> str:
    """An executable that a user could have named as interpreter."""
    path = folder / "program"
    path.write_text(f"#!{sys.executable}\nimport socket, sys\n{body}\n")
    path.chmod(0o755)
    return str(path)


SEND = "socket.socket(fileno=int(sys.argv[sys.argv.index('--socket') + 1])).sendall"


def test_a_worker_of_another_version_fails_the_load(supervised, tmp_path):
    interpreter = program(tmp_path, SEND + r"(b'VILA' + bytes([0, 9, 0, 1]) + bytes(12))")
    engine = supervised(interpreter=interpreter, load=False, policy=quick(failed_retry=NEVER))
    with pytest.raises(EngineFailed, match=r"version 9 .* same version of vila_ros is needed"):
        engine.load()
    assert engine.status().restarts == 0


def test_a_worker_that_speaks_no_protocol_is_ended(supervised, tmp_path):
    interpreter = program(tmp_path, SEND + "(b'hello' * 100)\nimport time; time.sleep(1000)")
    policy = quick(load_attempts=1, failed_retry=NEVER)
    engine = supervised(interpreter=interpreter, load=False, policy=policy)
    with pytest.raises(EngineFailed, match="begins with b'hell'"):
        engine.load()


NODE = """
import sys, time
from vila_ros.engine.interface import EngineSpec, GenerationRequest, Message, TextPart
from vila_ros.engine.supervisor import SupervisedEngine
lines = []
spec = EngineSpec("test.doubles:CrashingEngine", "double")
engine = SupervisedEngine(spec, on_log=lambda level, line: lines.append(line))
engine.load()
stream = engine.generate(GenerationRequest("r", (Message("user", (TextPart("one !freeze"),)),)))
while "obeying !freeze" not in lines:
    time.sleep(0.01)
print(engine.status().worker_pid, flush=True)
if "die" in sys.argv:
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["kill -9", "end without close"])
def test_a_worker_even_a_stopped_one_ends_with_its_node(how):
    arguments = ["die"] if how == "kill -9" else []
    with subprocess.Popen(
        [sys.executable, "-c", NODE, *arguments], stdout=subprocess.PIPE, text=True
    ) as node:
        worker = int(node.stdout.readline())
        if how == "kill -9":
            assert is_running(worker)
            node.kill()
    wait_until(lambda: not is_running(worker))


PAUSED_NODE = """
import sys
from vila_ros.engine.interface import EngineSpec, GenerationRequest, Message, TextPart
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.supervisor import SupervisedEngine
policy = SupervisionPolicy(heartbeat_interval=0.05, heartbeat_timeout=1.0, stall_timeout=1.0)
spec = EngineSpec("test.doubles:EchoEngine", "double", {"delay": 0.1})
engine = SupervisedEngine(spec, policy=policy)
engine.load()
stream = engine.generate(GenerationRequest("r", (Message("user", (TextPart("word " * 15),)),)))
next(stream)
print(engine.status().worker_pid, flush=True)
print(sum(1 for _ in stream), engine.status().restarts, flush=True)
engine.close()
"""


def test_time_in_which_the_node_itself_was_stopped_is_not_held_against_the_worker():
    with subprocess.Popen(
        [sys.executable, "-c", PAUSED_NODE], stdout=subprocess.PIPE, text=True
    ) as node:
        worker = int(node.stdout.readline())
        for process in (node.pid, worker):
            os.kill(process, signal.SIGSTOP)
        time.sleep(2.5)
        for process in (node.pid, worker):
            os.kill(process, signal.SIGCONT)
        assert node.stdout.readline() == "17 0\n"
