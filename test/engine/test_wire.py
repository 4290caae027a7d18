# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import json
import signal
import socket
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vila_ros.engine.wire import (
    HEADER,
    MAGIC,
    MAX_FIELDS_BYTES,
    MAX_PAYLOAD_BYTES,
    PROTOCOL_VERSION,
    Connection,
    Kind,
    ProtocolError,
    VersionMismatch,
    WireMessage,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Connection(ours), Connection(theirs)
    ours.close()
    theirs.close()


def received_bytes(data: bytes) -> WireMessage | None:
    """What a connection makes of bytes after which the other end hangs up."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: (theirs.sendall(data), theirs.close()), daemon=True)
    sender.start()
    connection = Connection(ours)
    try:
        return connection.receive()
    finally:
        connection.close()
        sender.join()


def header(**changed: int | bytes) -> bytes:
    fields = {
        "magic": MAGIC, "version": PROTOCOL_VERSION, "kind": Kind.CANCEL, "fields": 2, "payload": 0
    }  # fmt: skip
    return HEADER.pack(*(fields | changed).values())


@settings(max_examples=50, deadline=None)
@given(
    kind=st.sampled_from(Kind),
    fields=st.dictionaries(st.text(), JSON, max_size=4),
    payload=st.lists(st.binary(min_size=1, max_size=300), max_size=4),
)
def test_what_is_sent_is_received(kind, fields, payload):
    ours, theirs = socket.socketpair()
    sender, receiver = Connection(ours), Connection(theirs)
    sender.send(kind, fields, [memoryview(part) for part in payload])
    message = receiver.receive()
    assert (message.kind, message.fields) == (kind, fields)
    assert message.payload.tobytes() == b"".join(payload)
    sender.close()
    receiver.close()


def test_images_larger_than_the_socket_s_buffers_arrive_whole(ends):
    sender, receiver = ends
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, 5_000_000, np.uint8) for _ in range(3)]
    thread = threading.Thread(
        target=sender.send,
        args=(Kind.REQUEST, {}, [image.data for image in images]),
        daemon=True,
    )
    thread.start()
    message = receiver.receive()
    thread.join()
    assert np.array_equal(message.payload, np.concatenate(images))


def test_signals_in_the_middle_of_a_large_message_cut_nothing_out(ends):
    sender, receiver = ends
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)
    images = [np.full(3_000_000, number, np.uint8) for number in range(8)]
    received = []
    main, done = threading.main_thread().ident, threading.Event()

    def interrupt() -> None:
        while not done.wait(0.0005):
            signal.pthread_kill(main, signal.SIGUSR1)

    threads = [
        threading.Thread(target=lambda: received.append(receiver.receive()), daemon=True),
        threading.Thread(target=interrupt, daemon=True),
    ]
    for thread in threads:
        thread.start()
    sender.send(Kind.REQUEST, {}, [image.data for image in images])
    done.set()
    sender.close()
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGUSR1, previous)
    assert np.array_equal(received[0].payload, np.concatenate(images))


def test_more_buffers_than_the_system_takes_at_once_arrive_in_order(ends):
    sender, receiver = ends
    parts = [bytes([number % 256]) for number in range(3000)]
    sender.send(Kind.REQUEST, {}, [memoryview(part) for part in parts])
    assert receiver.receive().payload.tobytes() == b"".join(parts)


def test_messages_of_many_threads_do_not_mix(ends):
    sender, receiver = ends

    def send(number: int) -> None:
        for _ in range(20):
            sender.send(
                Kind.REQUEST, {"number": number}, [memoryview(bytes([number]) * 50_000)] * 2
            )

    threads = [threading.Thread(target=send, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(8 * 20):
        message = receiver.receive()
        assert message.payload.size == 100_000
        assert (message.payload == message.fields["number"]).all()
    for thread in threads:
        thread.join()


def test_an_end_between_messages_is_no_error(ends):
    sender, receiver = ends
    sender.send(Kind.HELLO, {})
    sender.close()
    assert receiver.receive().kind is Kind.HELLO
    assert receiver.receive() is None


def test_sending_to_a_closed_end_is_an_os_error(ends):
    sender, receiver = ends
    receiver.close()
    with pytest.raises(OSError, match="Broken pipe"):
        sender.send(Kind.HELLO, {})


def test_another_version_says_what_to_do():
    with pytest.raises(
        VersionMismatch, match=r"version 9 .* this one 2; the same version of vila_ros"
    ):
        received_bytes(header(version=9) + b"{}")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (header(magic=b"HTTP") + b"{}", "begins with b'HTTP'"),
        (header(kind=99) + b"{}", "no message of kind 99"),
        (header()[:5], "inside a header"),
        (header(), "2 bytes before a message's end"),
        (header(payload=7) + b"{}abc", "4 bytes before a message's end"),
        (header() + b"{:", "not JSON"),
        (header() + b"\xff\xfe", "not JSON"),
        (header() + b"[]", "a list, not an object"),
        (header(fields=200_000) + b"[" * 200_000, "not JSON"),
        (header(fields=MAX_FIELDS_BYTES + 1) + b"{}", f"exceeds the limit of {MAX_FIELDS_BYTES}"),
        (header(payload=2**63) + b"{}", f"exceed the limit of {MAX_PAYLOAD_BYTES}"),
    ],
)
def test_bad_messages_say_what_is_wrong(data, says):
    with pytest.raises(ProtocolError, match=says):
        received_bytes(data)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=100) | st.binary(max_size=60).map(lambda tail: header() + tail))
def test_no_bytes_do_worse_than_a_protocol_error(data):
    try:
        message = received_bytes(data)
    except ProtocolError:
        return
    if message is None:
        assert data == b""
    else:
        assert message.fields == json.loads(data[HEADER.size : HEADER.size + 2])


def test_what_is_too_large_is_refused_before_it_is_sent(ends):
    sender, receiver = ends
    with pytest.raises(ProtocolError, match="shorten the prompt"):
        sender.send(Kind.REQUEST, {"text": "x" * MAX_FIELDS_BYTES})
    megabytes = memoryview(bytes(2**20))
    with pytest.raises(ProtocolError, match="fewer or smaller images"):
        sender.send(Kind.REQUEST, {}, [megabytes] * 1025)
    sender.send(Kind.HELLO, {})
    assert receiver.receive().kind is Kind.HELLO
