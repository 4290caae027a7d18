# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker's own part of the protocol, spoken to it by hand."""

import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from vila_ros.engine import codec
from vila_ros.engine.interface import EngineSpec, GenerationRequest, Message, TextPart
from vila_ros.engine.wire import Connection, Kind


@pytest.fixture
def worker():
    """A worker process and our end of its connection."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "vila_ros.engine.worker"]
    with subprocess.Popen(
        [*command, "--socket", str(theirs.fileno()), "--parent", str(os.getpid())],
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        theirs.close()
        connection = Connection(ours)
        yield process, connection
        connection.close()
        process.wait()


def start(connection: Connection, max_requests: int = 4, **options: object) -> None:
    """Have it load an engine, and wait until it has."""
    spec = EngineSpec("test.doubles:CrashingEngine", "double", options)
    fields = {
        "spec": codec.encode_spec(spec),
        "heartbeat_interval": 0.02,
        "max_requests": max_requests,
    }
    connection.send(Kind.START, fields)
    while connection.receive().kind is not Kind.READY:
        pass


def ask(connection: Connection, number: int, text: str) -> None:
    request = GenerationRequest("r", (Message("user", (TextPart(text),)),))
    connection.send(Kind.REQUEST, codec.encode_request(request, number)[0])


def until(connection: Connection, *kinds: Kind):
    """The next message of these kinds."""
    while (message := connection.receive()).kind not in kinds:
        pass
    return message


def test_it_says_hello_loads_answers_and_beats(worker):
    process, connection = worker
    hello = connection.receive()
    assert (hello.kind, hello.fields["pid"]) == (Kind.HELLO, process.pid)
    start(connection)
    ask(connection, 7, "one two")
    text = ""
    while True:
        message = until(connection, Kind.CHUNK)
        assert message.fields["number"] == 7
        chunk = codec.decode_chunk(message.fields)
        text += chunk.text
        if chunk.finish_reason is not None:
            break
    assert text == "one two"
    while until(connection, Kind.HEARTBEAT).fields["tokens"] != 2:
        pass


def test_it_ends_in_order_when_the_node_hangs_up(worker):
    process, connection = worker
    start(connection)
    connection.close()
    assert process.wait() == 0
    assert process.stderr.read() == ""


def test_it_ends_in_order_at_sigterm(worker):
    process, connection = worker
    start(connection)
    process.terminate()
    assert process.wait() == 0


def test_a_request_before_the_model_is_loaded_is_refused(worker):
    process, connection = worker
    options = {"load_does": "!garbage", "load_time": 1000}
    spec = codec.encode_spec(EngineSpec("test.doubles:CrashingEngine", "m", options))
    connection.send(Kind.START, {"spec": spec, "heartbeat_interval": 0.02, "max_requests": 4})
    while "obeying !garbage" not in process.stderr.readline():
        pass
    ask(connection, 1, "early")
    assert "not loaded yet" in until(connection, Kind.FAILED).fields["message"]


def test_more_requests_than_agreed_are_refused(worker):
    _, connection = worker
    start(connection, max_requests=1, delay=0.05)
    ask(connection, 1, "word " * 1000)
    ask(connection, 2, "word")
    refused = until(connection, Kind.FAILED).fields
    assert refused["number"] == 2
    assert "limit" in refused["message"]


def test_cancel_ends_a_request_with_its_code(worker):
    _, connection = worker
    start(connection, delay=0.02)
    ask(connection, 1, "word " * 1000)
    until(connection, Kind.CHUNK)
    connection.send(Kind.CANCEL, {"number": 1})
    connection.send(Kind.CANCEL, {"number": 99})
    assert until(connection, Kind.FAILED).fields["code"] == 202


@pytest.mark.parametrize(
    ("kind", "fields", "payload", "says"),
    [
        (Kind.READY, {"number": 1}, b"", "A node does not send READY"),
        (Kind.CANCEL, {}, b"", "lacks the field 'number'"),
        (Kind.REQUEST, {"number": 1}, b"", "lacks the field 'messages'"),
        (Kind.REQUEST, {"number": 1, "messages": []}, b"abc", "3 bytes .* belong to no image"),
    ],
)
def test_a_node_that_breaks_the_protocol_is_left_with_a_reason(worker, kind, fields, payload, says):
    process, connection = worker
    start(connection)
    connection.send(kind, fields, [memoryview(np.frombuffer(payload, np.uint8))])
    while connection.receive() is not None:
        pass
    assert process.wait() == 1
    assert re.search(f"ProtocolError: .*{says}", process.stderr.read())


def test_a_worker_whose_node_has_gone_does_not_begin():
    done = subprocess.run(
        [sys.executable, "-m", "vila_ros.engine.worker", "--socket", "0", "--parent", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "The node's process 1 has ended" in done.stderr
