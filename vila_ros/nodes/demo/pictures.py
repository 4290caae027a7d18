# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small pictures of a recording's frames, for the page."""

from __future__ import annotations

from collections.abc import Collection

from vila_ros.nodes.demo.material import Material
from vila_ros.nodes.demo.record import FrameKey
from vila_ros.perception.cdr import read_header
from vila_ros.perception.images import decode_frame
from vila_ros.perception.jpeg import encode_jpeg, smaller
from vila_ros.perception.types import Frame, RefusedImage

WIDTH = 320
_QUALITY = 82


def small_pictures(material: Material, wanted: Collection[FrameKey]) -> dict[FrameKey, bytes]:
    """The frames wanted as JPEG files of at most WIDTH pixels; without those that are damaged."""
    pictures: dict[FrameKey, bytes] = {}
    if not wanted:
        return pictures
    cameras = {camera.topic: camera for camera in material.cameras}
    for message in material.recording.messages(cameras):
        camera = cameras[message.topic]
        try:
            stamp, frame_id = read_header(message.data)
            if (camera.name, stamp) not in wanted:
                continue
            pixels = decode_frame(Frame(camera.name, stamp, frame_id, camera.kind, message.data))
        except RefusedImage:
            continue
        pictures[camera.name, stamp] = encode_jpeg(smaller(pixels, WIDTH), _QUALITY)
    return pictures
