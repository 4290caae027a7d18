# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings made on the spot: by the rosbags library as a recorder, and MCAP records by hand."""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import lz4.frame
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from vila_ros.bags.compressed_image import COMPRESSED_IMAGE, serialize_compressed_image
from vila_ros.bags.compression import zstd
from vila_ros.bags.serialization import serialize_float32, standard_types
from vila_ros.bags.types import RecordedMessage

FLOAT32 = "std_msgs/msg/Float32"
CAMERA, SPEED = "/front/image_raw/compressed", "/speed"
START_NS = 1_700_000_000_000_000_000
PLUGINS = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def jpeg(value: int = 90, side: int = 32) -> bytes:
    """A small picture; different values give different bytes."""
    noise = np.random.default_rng(value).integers(0, 255, (side, side, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def drive(frames: int = 40, side: int = 32, start_ns: int = START_NS) -> list[RecordedMessage]:
    """A camera at 10 Hz and a speed at 20 Hz, in time order."""
    messages = []
    for i in range(frames):
        stamp = start_ns + i * 100_000_000
        image = serialize_compressed_image(stamp, "front", "jpeg", jpeg(i, side))
        messages.append(RecordedMessage(CAMERA, COMPRESSED_IMAGE, stamp, image))
        for half in (1, 2):
            data = serialize_float32(i + half / 2)
            messages.append(RecordedMessage(SPEED, FLOAT32, stamp + half * 45_000_000, data))
    return messages


def record(
    folder: Path,
    messages: Sequence[RecordedMessage],
    storage: str = "mcap",
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write messages in the order given, as `ros2 bag record` would."""
    writer = Writer(folder, version=9, storage_plugin=PLUGINS[storage])
    if compression != CompressionMode.NONE:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    connections = {}
    with writer:
        for message in messages:
            if message.topic not in connections:
                connections[message.topic] = writer.add_connection(
                    message.topic, message.type, typestore=standard_types()
                )
            writer.write(connections[message.topic], message.stamp_ns, message.data)
    return folder


def storage_file(folder: Path) -> Path:
    """The one storage file of a folder."""
    (found,) = (file for file in folder.iterdir() if file.name != "metadata.yaml")
    return found


@pytest.fixture
def bag(tmp_path: Path) -> Callable[..., Path]:
    """record() below a temporary folder, by name."""

    def make(messages: Sequence[RecordedMessage], name: str = "bag", **options: object) -> Path:
        return record(tmp_path / name, messages, **options)  # type: ignore[arg-type]

    return make


class McapByHand:
    """MCAP records as other recorders write them: other compressions, no chunks, no index."""

    def __init__(self) -> None:
        self.data = b"\x89MCAP0\r\n" + self.record(0x01, self.text("") + self.text("a test"))

    @staticmethod
    def record(opcode: int, content: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(content)) + content

    @staticmethod
    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    def announce(self, channel: int, topic: str, kind: str, encoding: str = "cdr") -> bytes:
        """Schema and channel records."""
        schema = struct.pack("<H", channel) + self.text(kind) + self.text("ros2msg")
        about = struct.pack("<HH", channel, channel) + self.text(topic) + self.text(encoding)
        return self.record(0x03, schema + self.text(f"# {kind}")) + self.record(
            0x04, about + struct.pack("<I", 0)
        )

    def message(self, channel: int, stamp: int, data: bytes) -> bytes:
        return self.record(0x05, struct.pack("<HIQQ", channel, 0, stamp, stamp) + data)

    def chunk(self, records: bytes, start: int, end: int, compression: str = "") -> bytes:
        """A chunk without message indexes."""
        pack = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}[compression]
        packed = pack(records)
        head = struct.pack("<QQQI", start, end, len(records), crc32(records))
        head += self.text(compression) + struct.pack("<Q", len(packed))
        return self.record(0x06, head + packed)

    def ended(self) -> bytes:
        """The file with an end but no summary."""
        end = self.record(0x0F, struct.pack("<I", 0))
        end += self.record(0x02, struct.pack("<QQI", 0, 0, 0))
        return self.data + end + b"\x89MCAP0\r\n"
