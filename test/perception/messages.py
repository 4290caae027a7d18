# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real serialized messages, written by rosbags' own CDR writer, and pictures to put into them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from vila_ros.perception.types import Frame, MessageKind

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
SECOND = 1_000_000_000
START = 1000 * SECOND


@cache
def typestore():
    return get_typestore(Stores.ROS2_HUMBLE)


def _header(stamp_ns: int, frame_id: str):
    types = typestore().types
    seconds, nanoseconds = divmod(stamp_ns, SECOND)
    stamp = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image_message(
    pixels: np.ndarray,
    encoding: str = "rgb8",
    stamp_ns: int = START,
    frame_id: str = "camera_optical",
    *,
    height: int | None = None,
    width: int | None = None,
    step: int | None = None,
    is_bigendian: bool = False,
    little_endian: bool = True,
) -> bytes:
    """A serialized sensor_msgs/Image of [H, W, ...] pixels; height, width and step may lie."""
    row = pixels.nbytes // max(pixels.shape[0], 1)
    message = typestore().types[IMAGE](
        header=_header(stamp_ns, frame_id),
        height=pixels.shape[0] if height is None else height,
        width=pixels.shape[1] if width is None else width,
        encoding=encoding,
        is_bigendian=int(is_bigendian),
        step=row if step is None else step,
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )
    return bytes(typestore().serialize_cdr(message, IMAGE, little_endian=little_endian))


def compressed_message(
    data: bytes,
    layout: str = "jpeg",
    stamp_ns: int = START,
    frame_id: str = "camera_optical",
    *,
    little_endian: bool = True,
) -> bytes:
    """A serialized sensor_msgs/CompressedImage."""
    message = typestore().types[COMPRESSED](
        header=_header(stamp_ns, frame_id), format=layout, data=np.frombuffer(data, np.uint8)
    )
    return bytes(typestore().serialize_cdr(message, COMPRESSED, little_endian=little_endian))


def image_frame(pixels: np.ndarray, encoding: str = "rgb8", camera: str = "front", **fields):
    data = image_message(pixels, encoding, **fields)
    return Frame(camera, fields.get("stamp_ns", START), "", MessageKind.IMAGE, data)


def compressed_frame(file: bytes, layout: str = "jpeg", camera: str = "front", **fields):
    data = compressed_message(file, layout, **fields)
    return Frame(camera, fields.get("stamp_ns", START), "", MessageKind.COMPRESSED_IMAGE, data)


def scene(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth, colourful RGB picture [H, W, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def plain(colour: tuple[int, int, int], height: int = 8, width: int = 8) -> np.ndarray:
    """A picture of one RGB colour [H, W, 3]."""
    return np.full((height, width, 3), colour, np.uint8)


def jpeg(rgb: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", rgb[..., ::-1], options)[1].tobytes()


def png(rgb: np.ndarray) -> bytes:
    """A PNG of grey [H, W], RGB [H, W, 3] or RGBA [H, W, 4] pixels of 8 or 16 bits."""
    order = {2: slice(None), 3: (Ellipsis, [2, 1, 0]), 4: (Ellipsis, [2, 1, 0, 3])}
    channels = 2 if rgb.ndim == 2 else rgb.shape[-1]
    return cv2.imencode(".png", np.ascontiguousarray(rgb[order[channels]]))[1].tobytes()
