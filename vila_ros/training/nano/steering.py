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
from vila_ros.errors import InvalidRecording
from vila_ros.training.nano.shards import PATCHES, WIDTH

ANGLE_TOPIC = "/user/angle"
CLEAR = 0.1
"""Steering further than this, of 1, is clearly to one side."""
GAP = 50
"""Frames left out between those that are learnt from and those held out."""
COPIES = 14
"""Varied copies of each frame that is learnt from: a drive of a minute shows few places."""
_SHIFT, _ZOOM, _LIGHT = 0.08, 0.14, 0.3


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
    """Frames to learn from, varied and mirrored. features: float16 [n, 256, 384]. answers: left or
    right, as often the one as the other since mirroring swaps them."""

    features: NDArray[np.float16]
    answers: tuple[str, ...]


def prepare_steering(
    tub: Path,
    see: Callable[[NDArray[np.uint8]], NDArray[np.float16]],
    side: int,
    copies: int = COPIES,
) -> SteeringFrames:
    """What the vision tower sees of the frames that are learnt from, each with its mirror image.

    side: of the tower's pictures. copies: of each frame beside itself, varied by `vary`. Raises
    InvalidRecording if there is no tub, or nobody steers in it.
    """
    frames = read_tub(tub)
    clear = [frames[n] for n in learnt_frames(len(frames)) if abs(frames[n][1]) > CLEAR]
    if not clear:
        raise InvalidRecording(
            f"'{tub}' has no frame to learn from: in the first three quarters of its {len(frames)} "
            f"frames nobody steers further than {CLEAR:g}."
        )
    chance = np.random.default_rng(0)
    each = 2 * (copies + 1)
    features = np.empty((each * len(clear), PATCHES, WIDTH), np.float16)
    answers: list[str] = []
    for number, (picture, angle) in enumerate(clear):
        pictures = []
        for shown in (picture, *(vary(picture, chance) for _ in range(copies))):
            small = np.asarray(Image.fromarray(shown).resize((side, side)))
            pictures += [small, small[:, ::-1]]
            answers += ["left", "right"] if angle < 0 else ["right", "left"]
        features[each * number : each * (number + 1)] = see(np.stack(pictures))
    return SteeringFrames(features, tuple(answers))


def vary(picture: RgbImage, chance: np.random.Generator) -> RgbImage:
    """The picture as a camera mounted, lit and aimed a little differently would give it.

    Moved by at most 8 % of its sides, 14 % nearer or farther (its edge repeated where it ends),
    30 % brighter or darker and of as much more or less contrast.
    """
    height, width = picture.shape[:2]
    zoom = 1 + chance.uniform(-_ZOOM, _ZOOM)
    middle = 0.5 + chance.uniform(-_SHIFT, _SHIFT, 2)
    rows, columns = (
        np.clip((side * (middle[axis] + (np.arange(side) / side - 0.5) / zoom)), 0, side - 1)
        for axis, side in enumerate((height, width))
    )
    moved = picture[rows.round().astype(int)[:, None], columns.round().astype(int)].astype(float)
    contrast, light = 1 + chance.uniform(-_LIGHT, _LIGHT, 2)
    mean = moved.mean()
    lit = ((moved - mean) * contrast + mean) * light
    return np.asarray(lit.round().clip(0, 255), np.uint8)


def probe_steering(
    tub: Path, see: Callable[[NDArray[np.uint8]], NDArray[np.float16]], side: int
) -> float:
    """How well a linear probe (ridge regression) on the same features tells left from right.

    It learns from the frames that the model learns from, mirrored ones included; its strength is
    the best for the frames held out, which is in its favour. Returns the mean of the shares of left
    and of right that are told, percent.
    """
    learnt = prepare_steering(tub, see, side, copies=0)
    frames = read_tub(tub)
    clear = [frames[i] for i in held_out_frames(len(frames)) if abs(frames[i][1]) > CLEAR]
    pictures = [np.asarray(Image.fromarray(each).resize((side, side))) for each, _ in clear]
    seen = np.concatenate(
        [see(np.stack(pictures[i : i + 16])) for i in range(0, len(pictures), 16)]
    )
    wanted = np.array([angle > 0 for _, angle in clear])
    signs = np.array([1.0 if answer == "right" else -1.0 for answer in learnt.answers])
    best = 0.0
    for pooled in (False, True):
        known, other = (_flat(features, pooled) for features in (learnt.features, seen))
        center, scale = known.mean(0), known.std(0) + 1e-3
        known, other = (known - center) / scale, (other - center) / scale
        likeness = known @ known.T / known.shape[1]
        for strength in (0.01, 0.1, 1.0, 10.0):
            weights = np.linalg.solve(likeness + strength * np.eye(len(known)), signs)
            told = other @ (known.T @ weights) > 0
            shares = [float((told == wanted)[wanted == way].mean()) for way in (False, True)]
            best = max(best, 50 * sum(shares))
    return best


def _flat(features: NDArray[np.float16], pooled: bool) -> NDArray[np.float32]:
    """One row of numbers a picture: the mean of all its patches, or of each 2 x 2 of them."""
    rows = features.astype(np.float32)
    if pooled:
        return np.asarray(rows.mean(1))
    grid = rows.reshape(len(rows), 8, 2, 8, 2, -1).mean((2, 4))
    return grid.reshape(len(rows), -1)
