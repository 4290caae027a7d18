# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Real frames with an honest label: which way a donkeycar's driver steered."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vila_ros.bags.donkeycar_tub import CAMERA_TOPIC, open_tub
from vila_ros.bags.serialization import deserialize
from vila_ros.engine.interface import RgbImage

ANGLE_TOPIC = "/user/angle"
CLEAR = 0.1
"""Steering further than this, of 1, is clearly to one side."""
GAP = 50
"""Frames left out between those that are learnt from and those held out."""


def read_tub(path: Path) -> list[tuple[RgbImage, float]]:
    """Frames and steering, -1 (left) to 1 (right), in order of time.

    Raises InvalidRecording if there is no tub.
    """
    frames: list[tuple[RgbImage, float]] = []
    picture: RgbImage | None = None
    for message in open_tub(path).messages():
        if message.topic == CAMERA_TOPIC:
            jpeg = bytes(deserialize(message).data)
            picture = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        elif message.topic == ANGLE_TOPIC and picture is not None:
            frames.append((picture, struct.unpack("<f", message.data[4:8])[0]))
            picture = None
    return frames


def learnt_frames(count: int) -> range:
    """Numbers of the frames to learn from: the first three quarters, without the gap."""
    return range(max(3 * count // 4 - GAP, 0))


def held_out_frames(count: int) -> range:
    """Numbers of the frames held out: the last quarter."""
    return range(3 * count // 4, count)


@dataclass(frozen=True, eq=False)
class SteeringFrames:
    """Frames to learn from, each also mirrored. features: float16 [n, 256, 384]. answers: left or
    right, as often the one as the other since mirroring swaps them."""

    features: NDArray[np.float16]
    answers: tuple[str, ...]


def prepare_steering(
    tub: Path, see: Callable[[NDArray[np.uint8]], NDArray[np.float16]], side: int
) -> SteeringFrames:
    """What the vision tower sees of the frames that are learnt from. side: of its pictures."""
    frames = read_tub(tub)
    pictures: list[NDArray[np.uint8]] = []
    answers: list[str] = []
    for number in learnt_frames(len(frames)):
        picture, angle = frames[number]
        if abs(angle) <= CLEAR:
            continue
        small = np.asarray(Image.fromarray(picture).resize((side, side)))
        pictures += [small, small[:, ::-1]]
        answers += ["left", "right"] if angle < 0 else ["right", "left"]
    features = [
        see(np.stack(pictures[first : first + 16])) for first in range(0, len(pictures), 16)
    ]
    return SteeringFrames(np.concatenate(features), tuple(answers))
