# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/msg/CompressedImage as serialized bytes, for images that come from no publisher."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from vila_ros.bags.free_name import free_name

COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
STAMPS = range(2**31 * 1_000_000_000)
"""Nanoseconds that a header's stamp can hold: its seconds are an int32, until 2038."""
_FORMATS = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"))


def camera_topic(camera: str) -> str:
    """The topic of a camera's compressed images, named as image_transport names it."""
    (topic,) = camera_topics([camera])
    return topic


def camera_topics(cameras: Iterable[str]) -> dict[str, str]:
    """Cameras by their topics; names that differ only in what a topic cannot hold are numbered."""
    namespaces: dict[str, str] = {}
    for camera in cameras:
        name = re.sub(r"[^A-Za-z0-9_]", "_", camera) or "camera"
        namespaces[free_name(f"{'_' if name[0].isdigit() else ''}{name}", namespaces)] = camera
    return {f"/{name}/image_raw/compressed": camera for name, camera in namespaces.items()}


def image_format(data: bytes) -> str:
    """The format by the first bytes: "jpeg" or "png", or the empty string."""
    return next((name for magic, name in _FORMATS if data.startswith(magic)), "")


def serialize_compressed_image(
    stamp_ns: int, frame_id: str, image_format: str, data: bytes
) -> bytes:
    """The message in little-endian CDR (OMG DDS-XTypes 7.4.1), the image's bytes unchanged.

    stamp_ns: one of STAMPS. image_format: "jpeg" or "png".
    """
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    head = struct.pack("<iI", seconds, nanoseconds)
    head += _string(frame_id, len(head))
    head += _string(image_format, len(head))
    head += bytes(-len(head) % 4) + struct.pack("<I", len(data))
    return b"\x00\x01\x00\x00" + head + data


def _string(text: str, position: int) -> bytes:
    """A CDR string placed at a position: aligned to 4, length with the final zero, bytes, zero."""
    encoded = text.encode() + b"\x00"
    return bytes(-position % 4) + struct.pack("<I", len(encoded)) + encoded
