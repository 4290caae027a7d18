# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Framed messages between a node and its engine's worker process.

A message is a fixed header, a JSON object of fields, and a payload of raw bytes (the pixels of
images, or their files). The header, in network order:

    magic b"VILA" | version u16 | kind u16 | fields' bytes u32 | payload's bytes u64

Every size is bounded, and checked before anything is allocated. Every message carries the version,
because the worker may run in another interpreter that finds another version of this package.

The payload is gathered from the images where they lie and received into one new array, so that
pixels are copied by the kernel alone. Eight frames of 640x480 cost 2 to 4 ms so, which is why every
request carries all its images, whether or not the worker has their embeddings already: nothing has
to be kept in step with a worker that may restart. (Memory that both ends map took longer, for its
page faults.)

Both ends trust each other no further than that a bad message is a ProtocolError.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vila_ros.errors import EngineFailed

PROTOCOL_VERSION = 2
MAGIC = b"VILA"
HEADER = struct.Struct("!4sHHIQ")
MAX_FIELDS_BYTES = 16 * 1024**2
MAX_PAYLOAD_BYTES = 1024**3

# sendmsg takes at most IOV_MAX buffers, 1024 on Linux.
_BUFFERS_AT_ONCE = 512
# The kernel grants what net.core.wmem_max allows; more room means fewer switches a large message.
_SOCKET_BUFFER_BYTES = 4 * 1024**2


class ProtocolError(EngineFailed):
    """The other end sent what is not a message of this protocol, or ended inside one."""


class VersionMismatch(ProtocolError):
    """The other end speaks another version of the protocol."""


class Kind(IntEnum):
    """What a message says. Fields are those of vila_ros.engine.codec, or as listed here."""

    HELLO = 1
    """Worker: it runs. {pid, python, package}"""
    START = 2
    """Node: an EngineSpec to load, and how to behave. {spec, heartbeat_interval, max_requests}"""
    READY = 3
    """Worker: loaded. Capabilities."""
    LOAD_FAILED = 4
    """Worker: the load ended with an error. {code, message}"""
    REQUEST = 5
    """Node: generate. A GenerationRequest with images as payload, and its number. {number, …}"""
    CHUNK = 6
    """Worker: a TextChunk of the request. {number, …}"""
    FAILED = 7
    """Worker: the request ended with an error. {number, code, message}"""
    CANCEL = 8
    """Node: end a request. {number}"""
    HEARTBEAT = 9
    """Worker: it lives. {memory_bytes, device_memory_bytes, in_flight, tokens}"""


@dataclass(frozen=True, eq=False)
class WireMessage:
    """A message as received. payload: uint8, [n], this message's own memory."""

    kind: Kind
    fields: Mapping[str, Any]
    payload: NDArray[np.uint8]


class Connection:
    """One end of a stream socket.

    send() may be called from any thread and blocks while the other end does not read; receive()
    belongs to one thread.
    """

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(True)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            stream.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER_BYTES)
        self._socket = stream
        self._reader = stream.makefile("rb")
        self._send_lock = threading.Lock()

    def send(
        self,
        kind: Kind,
        fields: Mapping[str, Any],
        payload: Sequence[memoryview] = (),
    ) -> None:
        """Send one message; payload: contiguous buffers of bytes, sent one after the other.

        Raises ProtocolError if a size exceeds its limit (nothing has been sent then), and OSError
        if the other end has gone.
        """
        encoded = json.dumps(fields, separators=(",", ":")).encode("ascii")
        size = sum(buffer.nbytes for buffer in payload)
        check_sizes(len(encoded), size)
        header = HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, len(encoded), size)
        with self._send_lock:
            if size:
                self._send_all([memoryview(header + encoded), *payload])
            else:
                self._socket.sendall(header + encoded)

    def receive(self) -> WireMessage | None:
        """The next message; None when the other end has closed between two messages.

        Raises ProtocolError for anything else, after which the connection is of no use.
        """
        try:
            header = self._reader.read(HEADER.size)
            if not header:
                return None
            kind, fields_size, payload_size = parse_header(header)
            fields = parse_fields(self._read_fields(fields_size))
            return WireMessage(kind, fields, self._read_payload(payload_size))
        except ConnectionError:
            return None

    def stop_receiving(self) -> None:
        """Have a receive() in another thread end as if the other end had closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """Close both directions; a receive() in another thread returns None."""
        # It may already be disconnected by the other end, which is what is wanted.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read_fields(self, size: int) -> bytes:
        encoded = self._reader.read(size)
        if len(encoded) < size:
            raise _cut_short(size - len(encoded))
        return encoded

    def _read_payload(self, size: int) -> NDArray[np.uint8]:
        payload = np.empty(size, np.uint8)
        view = payload.data
        filled = 0
        while filled < size:
            received = self._reader.readinto(view[filled:])
            if not received:
                raise _cut_short(size - filled)
            filled += received
        return payload

    def _send_all(self, buffers: list[memoryview]) -> None:
        """Send buffers by scatter and gather, without joining them."""
        first = 0
        while first < len(buffers):
            sent = self._socket.sendmsg(buffers[first : first + _BUFFERS_AT_ONCE])
            while first < len(buffers) and sent >= buffers[first].nbytes:
                sent -= buffers[first].nbytes
                first += 1
            if sent:
                buffers[first] = buffers[first][sent:]


def _cut_short(missing: int) -> ProtocolError:
    return ProtocolError(
        f"The other end closed the connection {missing} bytes before a message's end."
    )


def check_sizes(fields_size: int, payload_size: int) -> None:
    """Raise ProtocolError if a message of these sizes is too large to send or to receive."""
    if fields_size > MAX_FIELDS_BYTES:
        raise ProtocolError(
            f"A message's text of {fields_size} bytes exceeds the limit of {MAX_FIELDS_BYTES}; "
            "shorten the prompt, the examples or the schema."
        )
    if payload_size > MAX_PAYLOAD_BYTES:
        raise ProtocolError(
            f"A message's images of {payload_size} bytes exceed the limit of {MAX_PAYLOAD_BYTES}; "
            "send fewer or smaller images."
        )


def parse_header(header: bytes) -> tuple[Kind, int, int]:
    """Kind, size of the fields and size of the payload; raises ProtocolError."""
    if len(header) < HEADER.size:
        raise ProtocolError(f"The other end closed the connection inside a header: {header!r}.")
    magic, version, kind, fields_size, payload_size = HEADER.unpack(header)
    if magic != MAGIC:
        raise ProtocolError(f"A message begins with {magic!r}, not with {MAGIC!r}.")
    if version != PROTOCOL_VERSION:
        raise VersionMismatch(
            f"The other end speaks version {version} of the engine's protocol, this one "
            f"{PROTOCOL_VERSION}; the same version of vila_ros is needed in both interpreters."
        )
    check_sizes(fields_size, payload_size)
    try:
        return Kind(kind), fields_size, payload_size
    except ValueError:
        raise ProtocolError(f"There is no message of kind {kind}.") from None


def parse_fields(encoded: bytes) -> dict[str, Any]:
    """The fields of a message; raises ProtocolError."""
    try:
        fields = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"A message's fields are not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise ProtocolError(f"A message's fields are a {type(fields).__name__}, not an object.")
    return fields
