# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A drawn drive with its ground truth: a recording for demonstrations and tests without data.

A camera rides along a straight road at varying speed. Things stand beside the road or drive on it,
and what is in a picture, how far away and where, is known for each frame. The same seed draws the
same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.bags.drive_recording import START_NS, record_drive

WIDTH, HEIGHT = 640, 360
JPEG_QUALITY = 90

# A pinhole camera 1.4 m above the road, looking along it: x right, y down, z ahead (REP-103).
_FOCAL = 520.0
_HORIZON = 150.0
_CAMERA_HEIGHT = 1.4
_LANE = 3.5
_NEAR, _FAR = 3.0, 90.0

_LEAST_PIXELS = 6  # lower things are not counted as seen
_LEAST_VISIBLE = 0.3  # nor are those of which nearer things cover more than the rest

Picture = NDArray[np.uint8]
"""uint8 BGR, [H, W, 3]."""
Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SeenObject:
    """A thing in a picture.

    distance: metres ahead. side: metres right of the camera. box: x, y, width, height in pixels,
    clipped to the picture.
    """

    kind: str
    distance: float
    side: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """What is true at a frame. speed: metres a second. objects: nearest first."""

    stamp_ns: int
    speed: float
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True, slots=True)
class _Thing:
    """Something on or beside the road: metres along it at time 0, and its own speed."""

    kind: str
    along: float
    side: float
    speed: float
    size: tuple[float, float]  # width and height, metres
    color: Color


def drive(
    seconds: float = 12.0, rate: float = 10.0, seed: int = 0, start_ns: int = START_NS
) -> Iterator[tuple[Picture, FrameTruth]]:
    """The frames of a drive and what is true in each."""
    chance = np.random.default_rng(seed)
    things = _things(chance, seconds)
    texture = chance.integers(-3, 4, (HEIGHT, WIDTH, 1), dtype=np.int16)
    driven = 0.0
    for index in range(math.ceil(seconds * rate)):
        now = index / rate
        speed = 9.0 + 3.0 * math.sin(now / 3.0)
        picture = _road(driven, texture)
        covers = np.full((HEIGHT, WIDTH), -1, np.int16)  # which thing is in front at each pixel
        seen: list[tuple[int, SeenObject]] = []
        # The farthest first, so that near things cover far ones.
        for thing in sorted(things, key=lambda thing: -(thing.along + thing.speed * now)):
            distance = thing.along + thing.speed * now - driven
            if not _NEAR < distance < _FAR:
                continue
            box = _draw_thing(picture, thing, distance, now)
            if box is not None:
                _window(covers, box)[:] = len(seen)
                side = round(float(thing.side), 2)
                seen.append(
                    (len(seen), SeenObject(thing.kind, round(float(distance), 2), side, box))
                )
        stamp = start_ns + round(index * 1e9 / rate)
        visible = tuple(
            thing
            for number, thing in reversed(seen)
            if (_window(covers, thing.box) == number).mean() >= _LEAST_VISIBLE
        )
        yield picture, FrameTruth(stamp, round(speed, 3), visible)
        driven += speed / rate


def write_drive(
    path: Path, *, seconds: float = 12.0, rate: float = 10.0, seed: int = 0, storage: str = "mcap"
) -> list[FrameTruth]:
    """Record a drive: pictures as JPEG, speed, and the ground truth as JSON in a string.

    Raises InvalidRecording if it cannot be written; returns what is true at each frame.
    """
    return list(record_drive(path, drive(seconds, rate, seed), JPEG_QUALITY, storage))


def _things(chance: np.random.Generator, seconds: float) -> list[_Thing]:
    """A car ahead, one that comes the other way, and what stands along the road."""
    length = 12.0 * seconds + _FAR
    things = [
        _Thing("car", 16.0, 0.1, 9.6, (1.8, 1.5), (40, 40, 190)),
        _Thing("car", 60.0 + 6.0 * seconds, -_LANE, -8.0, (1.8, 1.5), (190, 120, 40)),
    ]
    for along in np.arange(18.0, length, 26.0):
        side = _LANE / 2 + 0.5 + chance.uniform(0.0, 0.4)
        things.append(
            _Thing("cone", along + chance.uniform(0, 8), side, 0.0, (0.4, 0.75), (0, 110, 255))
        )
    for along in np.arange(34.0, length, 48.0):
        side = _LANE / 2 + 2.0 + chance.uniform(0.0, 1.0)
        things.append(
            _Thing("person", along + chance.uniform(0, 10), side, 0.0, (0.55, 1.75), (90, 60, 30))
        )
    for number, along in enumerate(np.arange(28.0, length, 40.0)):
        kind = ("speed limit sign", "stop sign")[number % 2]
        things.append(
            _Thing(kind, float(along), _LANE / 2 + 1.6, 0.0, (0.75, 2.6), (255, 255, 255))
        )
    return things


def _place(side: float, up: float, distance: float) -> tuple[float, float]:
    """The pixel of a point `side` metres right, `up` metres above the road, `distance` ahead."""
    scale = _FOCAL / distance
    return WIDTH / 2 + side * scale, _HORIZON + (_CAMERA_HEIGHT - up) * scale


def _corners(points: list[tuple[float, float]]) -> NDArray[np.int32]:
    return np.round(np.array(points)).astype(np.int32)


def _ground(
    picture: Picture, left: float, right: float, near: float, far: float, color: Color
) -> None:
    """Fill a rectangle on the road, given in metres."""
    corners = [(left, near), (left, far), (right, far), (right, near)]
    points = [_place(side, 0.0, distance) for side, distance in corners]
    cv2.fillConvexPoly(picture, _corners(points), color, cv2.LINE_AA)


def _road(driven: float, texture: NDArray[np.int16]) -> Picture:
    """Sky, verge, asphalt and markings, which move by `driven` metres."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rows = np.linspace(0.0, 1.0, int(_HORIZON))[:, None]
    sky = np.array([235.0, 190.0, 140.0]) * (1 - rows) + np.array([245.0, 235.0, 225.0]) * rows
    picture[: int(_HORIZON)] = sky[:, None, :]
    picture[int(_HORIZON) :] = (70, 125, 85)
    _ground(picture, -1.5 * _LANE - 0.4, _LANE / 2 + 0.4, 1.5, 400.0, (88, 86, 84))
    for side in (-1.5 * _LANE, _LANE / 2):
        _ground(picture, side - 0.07, side + 0.07, 1.5, 200.0, (235, 235, 235))
    phase = driven % 9.0
    for start in np.arange(-phase, _FAR, 9.0):  # dashes of 3 m, gaps of 6 m
        if start + 3.0 > 2.0:
            near = max(2.0, float(start))
            _ground(
                picture,
                -_LANE / 2 - 0.07,
                -_LANE / 2 + 0.07,
                near,
                float(start) + 3.0,
                (240, 240, 240),
            )
    # A still picture would compress to nothing; grain makes frames as large as a camera's.
    return np.clip(picture.astype(np.int16) + texture, 0, 255).astype(np.uint8)


def _draw_thing(
    picture: Picture, thing: _Thing, distance: float, now: float
) -> tuple[int, int, int, int] | None:
    """Draw a thing; returns its box in the picture, or None where it is outside or too small."""
    width, height = thing.size
    left, top = _place(thing.side - width / 2, height, distance)
    right, bottom = _place(thing.side + width / 2, 0.0, distance)
    _DRAWINGS[thing.kind](picture, thing.color, (left, top, right, bottom), now)
    x0, x1 = max(0, round(left)), min(WIDTH, round(right))
    y0, y1 = max(0, round(top)), min(HEIGHT, round(bottom))
    return (x0, y0, x1 - x0, y1 - y0) if x1 - x0 > 1 and y1 - y0 >= _LEAST_PIXELS else None


def _window(image: NDArray[np.int16], box: tuple[int, int, int, int]) -> NDArray[np.int16]:
    """The part of an image within a box."""
    x, y, width, height = box
    return image[y : y + height, x : x + width]


Box = tuple[float, float, float, float]


def _inside(box: Box, x: float, y: float) -> tuple[int, int]:
    """A pixel at a fraction of a box's width and height."""
    left, top, right, bottom = box
    return round(left + (right - left) * x), round(top + (bottom - top) * y)


def _polygon(picture: Picture, box: Box, points: list[tuple[float, float]], color: Color) -> None:
    corners = [_inside(box, x, y) for x, y in points]
    cv2.fillPoly(picture, [np.array(corners, np.int32)], color, cv2.LINE_AA)


def _draw_car(picture: Picture, color: Color, box: Box, now: float) -> None:
    dark: Color = (color[0] // 2, color[1] // 2, color[2] // 2)
    _polygon(picture, box, [(0.08, 0.9), (0.08, 1.0), (0.92, 1.0), (0.92, 0.9)], (25, 25, 25))
    _polygon(picture, box, [(0.18, 0.0), (0.82, 0.0), (0.95, 0.42), (0.05, 0.42)], dark)
    _polygon(picture, box, [(0.23, 0.06), (0.77, 0.06), (0.87, 0.4), (0.13, 0.4)], (200, 190, 175))
    _polygon(picture, box, [(0.0, 0.42), (1.0, 0.42), (1.0, 0.92), (0.0, 0.92)], color)
    for x in (0.04, 0.78):
        _polygon(
            picture, box, [(x, 0.5), (x + 0.18, 0.5), (x + 0.18, 0.62), (x, 0.62)], (60, 60, 255)
        )
    _polygon(picture, box, [(0.36, 0.68), (0.64, 0.68), (0.64, 0.8), (0.36, 0.8)], (235, 235, 235))


def _draw_cone(picture: Picture, color: Color, box: Box, now: float) -> None:
    _polygon(picture, box, [(0.0, 0.92), (1.0, 0.92), (1.0, 1.0), (0.0, 1.0)], color)
    _polygon(picture, box, [(0.42, 0.0), (0.58, 0.0), (0.88, 0.93), (0.12, 0.93)], color)
    _polygon(
        picture, box, [(0.33, 0.35), (0.67, 0.35), (0.74, 0.58), (0.26, 0.58)], (245, 245, 245)
    )


def _draw_person(picture: Picture, color: Color, box: Box, now: float) -> None:
    swing = 0.16 * math.sin(now * 6.0)
    for foot, shade in ((0.5 + swing, 55), (0.5 - swing, 75)):
        leg = [(0.4, 0.55), (0.6, 0.55), (foot + 0.12, 1.0), (foot - 0.12, 1.0)]
        _polygon(picture, box, leg, (shade, shade - 20, shade - 30))
    _polygon(picture, box, [(0.2, 0.2), (0.8, 0.2), (0.72, 0.6), (0.28, 0.6)], (60, 160, 220))
    center, radius = _inside(box, 0.5, 0.1), (box[3] - box[1]) * 0.085
    cv2.circle(picture, center, max(1, round(radius)), (135, 170, 215), -1, cv2.LINE_AA)


def _draw_sign(picture: Picture, box: Box, sides: int, text: str, face: Color, edge: Color) -> None:
    _polygon(picture, box, [(0.45, 0.25), (0.55, 0.25), (0.55, 1.0), (0.45, 1.0)], (130, 130, 130))
    radius = (box[2] - box[0]) / 2
    center = np.array([(box[0] + box[2]) / 2, box[1] + radius])
    turns = (np.arange(sides) + 0.5) * 2 * math.pi / sides
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    for part, color in ((1.0, edge), (0.8, face)):
        corners = np.round(center + ring * radius * part).astype(np.int32)
        cv2.fillPoly(picture, [corners], color, cv2.LINE_AA)
    if radius > 6:
        scale = radius / 26.0
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        corner = round(center[0] - width / 2), round(center[1] + height / 2)
        ink = (255, 255, 255) if face == edge else (20, 20, 20)
        thickness = max(1, round(scale * 2))
        cv2.putText(
            picture, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA
        )


def _draw_stop_sign(picture: Picture, color: Color, box: Box, now: float) -> None:
    _draw_sign(picture, box, 8, "STOP", (40, 30, 190), (40, 30, 190))


def _draw_limit_sign(picture: Picture, color: Color, box: Box, now: float) -> None:
    _draw_sign(picture, box, 32, "30", color, (40, 30, 190))


_DRAWINGS: dict[str, Callable[[Picture, Color, Box, float], Any]] = {
    "car": _draw_car,
    "cone": _draw_cone,
    "person": _draw_person,
    "stop sign": _draw_stop_sign,
    "speed limit sign": _draw_limit_sign,
}
