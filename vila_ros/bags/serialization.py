# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as objects and as bytes without ROS, through the rosbags library's typestore."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from vila_ros.bags.types import RecordedMessage
from vila_ros.errors import InvalidRecording

_IDL_HEAD = "=" * 80 + "\nIDL: "  # before each file of a definition in IDL


@cache
def standard_types() -> Typestore:
    """The message types every ROS 2 installation has."""
    return get_typestore(Stores.ROS2_KILTED)


def typestore_with(definitions: dict[str, str]) -> Typestore:
    """The standard types and others by their definitions (type name -> text).

    Standard types stay as they are. Raises InvalidRecording for a definition that cannot be parsed.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    for name, text in definitions.items():
        try:
            types = _parse(name, text)
            store.register({key: value for key, value in types.items() if key not in store.types})
        except Exception as error:  # rosbags raises its own and the parser's many kinds
            raise InvalidRecording(f"The definition of {name} cannot be parsed: {error}") from error
    return store


def _parse(name: str, text: str) -> Typesdict:
    if not text.startswith(_IDL_HEAD):
        return get_types_from_msg(text, name)
    types: Typesdict = {}
    for file in text.split(_IDL_HEAD)[1:]:
        types.update(get_types_from_idl(file.partition("\n")[2]))
    return types


def deserialize(message: RecordedMessage, store: Typestore | None = None) -> Any:
    """The message as an object with its fields; arrays are numpy arrays.

    Raises InvalidRecording if the type is unknown or the data does not fit it.
    """
    store = store or standard_types()
    if message.type not in store.types:
        raise InvalidRecording(
            f"{message.topic}: the type {message.type} is not known; the recording's own "
            "definitions make it known (typestore_with)."
        )
    try:
        return store.deserialize_cdr(message.data, message.type)
    except (
        Exception
    ) as error:  # malformed data ends in any of struct's, numpy's and rosbags' errors
        raise InvalidRecording(
            f"{message.topic} at {message.stamp_ns}: {len(message.data)} bytes are no "
            f"{message.type}: {error}"
        ) from error


def serialize(message: Any, message_type: str, store: Typestore | None = None) -> bytes:
    """An object of the typestore as little-endian CDR."""
    return bytes((store or standard_types()).serialize_cdr(message, message_type))


def serialize_float32(value: float) -> bytes:
    """std_msgs/msg/Float32 as little-endian CDR."""
    return struct.pack("<4sf", b"\x00\x01\x00\x00", value)
