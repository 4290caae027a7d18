# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the things of a scene look like: meshes of a few plain parts, told apart at 20 pixels.

Coordinates in metres: x right, y away from who looks at the thing from the front, z up; the foot
stands at the origin. A part is painted in the thing's colour or in a colour of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[float, float, float]
"""Red, green, blue, 0 to 1."""

_DARK: Rgb = (0.07, 0.07, 0.08)
_GLASS: Rgb = (0.32, 0.40, 0.46)
_PALE: Rgb = (0.93, 0.93, 0.90)
_STEEL: Rgb = (0.45, 0.45, 0.46)
_SKIN: Rgb = (0.82, 0.62, 0.50)
_CLOTH: Rgb = (0.20, 0.21, 0.27)
_LAMP: Rgb = (0.85, 0.10, 0.08)


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh: float32 vertices and normals [N, 3], triangles as indices [3*T].

    paint: its colour; None takes the thing's.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    indices: NDArray[np.int32]
    paint: Rgb | None


@dataclass(frozen=True, eq=False)
class Shape:
    """A kind's parts and size. size: width (x), depth (y), height (z), metres.

    fill: how much of its outline's convex hull a thing of the kind covers, about.
    """

    parts: tuple[Part, ...]
    size: tuple[float, float, float]
    fill: float


def _mesh(faces: list[NDArray[np.float64]], paint: Rgb | None) -> Part:
    """Flat faces (convex polygons, counter-clockwise from outside) as a part."""
    vertices: list[NDArray[np.float64]] = []
    normals: list[NDArray[np.float64]] = []
    indices: list[int] = []
    for face in faces:
        normal = np.cross(face[1] - face[0], face[2] - face[0])
        normal = normal / max(float(np.linalg.norm(normal)), 1e-9)
        first = len(vertices)
        vertices += list(face)
        normals += [normal] * len(face)
        for corner in range(1, len(face) - 1):
            indices += [first, first + corner, first + corner + 1]
    return Part(
        np.array(vertices, np.float32),
        np.array(normals, np.float32),
        np.array(indices, np.int32),
        paint,
    )


def _joined(parts: list[Part], paint: Rgb | None) -> Part:
    """Several meshes as one part of one colour."""
    offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Part(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate(
            [part.indices + offset for part, offset in zip(parts, offsets, strict=True)]
        ).astype(np.int32),
        paint,
    )


def _prism(outline: list[tuple[float, float]], low: float, high: float, axis: int) -> Part:
    """An outline, counter-clockwise, drawn out along an axis (0 x, 1 y, 2 z) from low to high."""
    others = [(1, 2), (2, 0), (0, 1)][axis]
    rings = np.zeros((2, len(outline), 3))
    for index, at in enumerate((low, high)):
        rings[index, :, axis] = at
        rings[index][:, others] = np.array(outline)
    bottom, top = rings
    count = len(outline)
    faces = [bottom[::-1], top]
    for i in range(count):
        j = (i + 1) % count
        faces.append(np.array([bottom[i], bottom[j], top[j], top[i]]))
    return _mesh(faces, None)


def _box(width: float, depth: float, height: float, at: Rgb = (0.0, 0.0, 0.0)) -> Part:
    """A cuboid whose foot's centre is at a place."""
    x, y, z = at
    outline = [
        (x - width / 2, y - depth / 2),
        (x + width / 2, y - depth / 2),
        (x + width / 2, y + depth / 2),
        (x - width / 2, y + depth / 2),
    ]
    return _prism(outline, z, z + height, axis=2)


def _turned(profile: list[tuple[float, float]], sides: int, at: Rgb = (0.0, 0.0, 0.0)) -> Part:
    """(radius, z) pairs from low to high turned about the upright axis; smooth around it."""
    angles = np.arange(sides) * 2 * math.pi / sides
    faces = []
    for (r0, z0), (r1, z1) in pairwise(profile):
        for a, b in zip(angles, np.roll(angles, -1), strict=True):
            corners = [
                (r0 * math.cos(a), r0 * math.sin(a), z0),
                (r0 * math.cos(b), r0 * math.sin(b), z0),
                (r1 * math.cos(b), r1 * math.sin(b), z1),
                (r1 * math.cos(a), r1 * math.sin(a), z1),
            ]
            if r0 < 1e-6:
                corners = [corners[0], corners[2], corners[3]]
            elif r1 < 1e-6:
                corners = corners[:3]
            faces.append(np.array(corners) + np.array(at))
    return _mesh(faces, None)


def _painted(part: Part, paint: Rgb | None) -> Part:
    return Part(part.vertices, part.normals, part.indices, paint)


def _car() -> Shape:
    # The outline from the side, (y, z); y is along the car.
    body = [
        (-1.55, 0.25), (1.55, 0.25), (1.58, 0.55), (1.45, 0.75), (-1.5, 0.82), (-1.58, 0.6),
    ]  # fmt: skip
    cabin = [(-1.35, 0.78), (0.75, 0.74), (0.30, 1.30), (-1.05, 1.32)]
    roof = [(-1.0, 1.28), (0.27, 1.26), (0.22, 1.38), (-0.95, 1.40)]
    wheels = []
    for y in (-0.95, 0.95):
        ring = [
            (y + 0.31 * math.cos(a), 0.31 + 0.31 * math.sin(a)) for a in np.arange(12) * math.pi / 6
        ]
        wheels += [_prism(ring, -0.80, -0.60, axis=0), _prism(ring, 0.60, 0.80, axis=0)]
    lamps = [_box(0.28, 0.06, 0.14, (x, -1.58, 0.55)) for x in (-0.52, 0.52)]
    front = [_box(0.28, 0.06, 0.14, (x, 1.56, 0.50)) for x in (-0.52, 0.52)]
    parts = (
        _joined(
            [
                _prism(body, -0.76, 0.76, axis=0),
                _prism(roof, -0.60, 0.60, axis=0),
            ],
            None,
        ),
        _painted(_prism(cabin, -0.66, 0.66, axis=0), _GLASS),
        _joined(wheels, _DARK),
        _joined(lamps, _LAMP),
        _joined(front, _PALE),
    )
    return Shape(parts, (1.6, 3.2, 1.4), 0.88)


def _person() -> Shape:
    legs = [_turned([(0.06, 0.0), (0.09, 0.8)], 8, (x, 0.0, 0.0)) for x in (-0.11, 0.11)]
    arms = [_turned([(0.05, 0.75), (0.075, 1.4)], 8, (x, 0.0, 0.0)) for x in (-0.29, 0.29)]
    trunk = _turned([(0.19, 0.76), (0.20, 1.0), (0.25, 1.36), (0.08, 1.46)], 10)
    head = _turned([(0.05, 1.42), (0.11, 1.5), (0.125, 1.6), (0.09, 1.7), (0.0, 1.74)], 10)
    parts = (
        _joined([trunk, *arms], None),
        _joined(legs, _CLOTH),
        _painted(head, _SKIN),
    )
    return Shape(parts, (0.65, 0.4, 1.74), 0.8)


def _cone() -> Shape:
    def radius(z: float) -> float:
        return 0.26 - 0.235 * z / 0.9

    def slice_(low: float, high: float) -> Part:
        return _turned([(radius(low), low), (radius(high), high)], 14)

    top = _turned([(radius(0.62), 0.62), (radius(0.9), 0.9), (0.0, 0.91)], 14)
    parts = (
        _joined([_box(0.66, 0.66, 0.06), slice_(0.05, 0.34), top], None),
        _painted(slice_(0.34, 0.62), _PALE),
    )
    return Shape(parts, (0.66, 0.66, 0.9), 0.85)


def _crate() -> Shape:
    strips = [_box(0.86, 0.09, 0.862), _box(0.09, 0.86, 0.862)]
    parts = (_painted(_box(0.85, 0.85, 0.85), None), _joined(strips, _STEEL))
    return Shape(parts, (0.85, 0.85, 0.85), 0.98)


def _sign() -> Shape:
    def octagon(radius: float) -> list[tuple[float, float]]:
        # In the plane (z, x) of a prism along y.
        return [
            (1.75 + radius * math.cos(a), radius * math.sin(a))
            for a in (np.arange(8) + 0.5) * math.pi / 4
        ]

    parts = (
        _painted(_prism(octagon(0.41), -0.035, 0.035, axis=1), None),
        _painted(_prism(octagon(0.47), -0.025, 0.025, axis=1), _PALE),
        _joined(
            [
                _turned([(0.04, 0.0), (0.04, 1.4)], 8),
                _box(0.46, 0.085, 0.12, (0.0, 0.0, 1.69)),
            ],
            _STEEL,
        ),
    )
    return Shape(parts, (0.95, 0.1, 2.2), 0.5)


def _chair() -> Shape:
    legs = [_box(0.06, 0.06, 0.45, (x, y, 0.0)) for x in (-0.22, 0.22) for y in (-0.22, 0.22)]
    seat, back = _box(0.52, 0.52, 0.09, (0, 0, 0.43)), _box(0.52, 0.07, 0.52, (0, 0.23, 0.5))
    return Shape((_joined([seat, back], None), _joined(legs, _STEEL)), (0.52, 0.52, 1.02), 0.7)


def _table() -> Shape:
    legs = [_box(0.09, 0.09, 0.7, (x, y, 0.0)) for x in (-0.66, 0.66) for y in (-0.38, 0.38)]
    top = _box(1.5, 0.95, 0.11, (0, 0, 0.68))
    return Shape((_painted(top, None), _joined(legs, _STEEL)), (1.5, 0.95, 0.79), 0.45)


def _ball() -> Shape:
    radius = 0.36
    turns = np.linspace(-math.pi / 2, math.pi / 2, 9)
    profile = [(radius * math.cos(t), radius + radius * math.sin(t)) for t in turns]
    profile[0], profile[-1] = (0.0, 0.0), (0.0, 2 * radius)
    part = _turned(profile, 16)
    center = np.array([0, 0, radius], np.float32)
    smooth = (part.vertices - center) / radius
    return Shape(
        (Part(part.vertices, smooth, part.indices, None),),
        (2 * radius, 2 * radius, 2 * radius),
        0.98,
    )


_MAKERS: Mapping[str, Callable[[], Shape]] = {
    "car": _car,
    "person": _person,
    "cone": _cone,
    "box": _crate,
    "sign": _sign,
    "chair": _chair,
    "table": _table,
    "ball": _ball,
}
KINDS: tuple[str, ...] = tuple(_MAKERS)
SHAPES: Mapping[str, Shape] = {kind: make() for kind, make in _MAKERS.items()}

# Colours by hue (0 to 1, lowest and highest), saturation and value, so that none runs into another.
_HUES: Mapping[str, tuple[float, float]] = {
    "red": (-0.015, 0.015),
    "orange": (0.066, 0.082),
    "yellow": (0.145, 0.165),
    "green": (0.31, 0.38),
    "blue": (0.58, 0.64),
}
COLORS: tuple[str, ...] = (*_HUES, "white", "black")


def shade(color: str, chance: np.random.Generator) -> Rgb:
    """One paint of a named colour."""
    if color == "white":
        value = chance.uniform(0.88, 1.0)
        return value, value, value * chance.uniform(0.97, 1.0)
    if color == "black":
        value = chance.uniform(0.02, 0.07)
        return value, value, value
    low, high = _HUES[color]
    hue = chance.uniform(low, high) % 1.0
    # Orange that is not bright is brown.
    value = chance.uniform(0.9 if color == "orange" else 0.7, 1.0)
    return _rgb(hue, chance.uniform(0.85, 1.0), value)


def _rgb(hue: float, saturation: float, value: float) -> Rgb:
    def channel(n: float) -> float:
        k = (n + hue * 6) % 6
        return value - value * saturation * max(0.0, min(k, 4 - k, 1.0))

    return channel(5), channel(3), channel(1)
