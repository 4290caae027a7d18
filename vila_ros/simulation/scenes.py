# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes by seed: single views, and clips in which things come, go and cross.

One seed makes one scene, the same everywhere. Some colours of kinds are held out: training scenes
never show them, so that what is answered about them was put together, not remembered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vila_ros.simulation.renderer import Renderer, outline
from vila_ros.simulation.scene import PLACES, ROOM, Camera, FrameTruth, Light, Surroundings, Thing
from vila_ros.simulation.shapes import COLORS, KINDS, SHAPES, shade

# One colour of each kind, each colour at least once.
HELD_OUT: Mapping[str, str] = {
    kind: COLORS[(3 + 3 * index) % len(COLORS)] for index, kind in enumerate(KINDS)
}
_BANDS = ((0.08, 0.37), (0.44, 0.56), (0.63, 0.92))  # columns of left, ahead and right
_MOST_OVERLAP = 0.12
_ASPECT = 4 / 3
_TRIES = 25

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class View:
    """One picture of a scene. seconds: since its first one. speed: of the camera, m/s."""

    seconds: float
    camera: Camera
    things: tuple[Thing, ...]
    speed: float = 0.0


@dataclass(frozen=True)
class Scene:
    """What the renderer draws: one view, or several in time order."""

    seed: int
    surroundings: Surroundings
    views: tuple[View, ...]


def still_scene(seed: int, held_out: bool = False, crowd: bool = False) -> Scene:
    """A single view of one to six things; half of the scenes count one kind, one to four of it.

    held_out: every other thing has its kind's held-out colour; else none has. crowd: whether there
    are two to four of a kind for certain.
    """
    chance = np.random.default_rng([seed, 1])
    surroundings, camera = _surroundings(chance), _camera(chance)
    kinds = _kinds(chance, crowd)
    things: list[Thing] = []
    boxes: list[Box] = []
    for kind in kinds:
        band = _BANDS[chance.integers(3)]
        placed = _stand(chance, camera, surroundings.place, kind, band, boxes, len(kinds))
        if placed is not None:
            thing, box = placed
            things.append(_painted(thing, len(things), chance, held_out))
            boxes.append(box)
    return Scene(seed, surroundings, (View(0.0, camera, tuple(things)),))


def crowd_scene(seed: int) -> Scene:
    """A single view of two to four things of a kind, and up to two others."""
    return still_scene(seed, crowd=True)


def clip_scene(seed: int, held_out: bool = False, frames: int | None = None) -> Scene:
    """A clip of 4, 6 or 8 views (or `frames`), of one to three things, each with a way of its own.

    In two of five clips the camera drives, and things stand still or move beside it.
    """
    chance = np.random.default_rng([seed, 2])
    surroundings, camera = _surroundings(chance), _camera(chance)
    count = frames or int(chance.choice([4, 4, 6, 8]))
    seconds = float(chance.choice([0.25, 0.4, 0.5, 0.75, 1.0]) * (count - 1))
    driven = float(chance.uniform(1.5, 4.0)) if chance.random() < 0.4 else 0.0
    ways = [
        _way(chance, camera, surroundings.place, str(chance.choice(KINDS)), driven)
        for _ in range(chance.choice([1, 2, 2, 3]))
    ]
    painted = [
        (_painted(start, number, chance, held_out), end) for number, (start, end) in enumerate(ways)
    ]
    views = []
    for index in range(count):
        part = index / (count - 1)
        moved = tuple(
            replace(
                start, x=start.x + (end.x - start.x) * part, y=start.y + (end.y - start.y) * part
            )
            for start, end in painted
        )
        here = replace(camera, y=driven * part)
        views.append(View(seconds * part, here, moved, driven / seconds))
    return Scene(seed, surroundings, tuple(views))


def draw_scene(
    renderer: Renderer, scene: Scene, most: int | None = None
) -> tuple[list[NDArray[np.uint8]], list[FrameTruth]]:
    """The pictures of a scene's views (at most `most`), RGB [H, W, 3], and what is true at each."""
    drawn = [
        renderer.draw(
            scene.surroundings,
            view.camera,
            view.things,
            stamp_ns=round(view.seconds * 1e9),
            speed=view.speed,
            seed=scene.seed * 16 + index,
        )
        for index, view in enumerate(scene.views[:most])
    ]
    return [picture for picture, _ in drawn], [truth for _, truth in drawn]


def _surroundings(chance: np.random.Generator) -> Surroundings:
    direction = (float(chance.uniform(-2, 2)), float(chance.uniform(-3, 0)), 3.0)
    light = Light(direction, float(chance.uniform(0.45, 0.75)))
    return Surroundings(str(chance.choice(PLACES)), int(chance.integers(1 << 31)), light)


def _camera(chance: np.random.Generator) -> Camera:
    height = float(chance.uniform(0.5, 1.6))
    return Camera(
        height=height,
        pitch=float(chance.uniform(0.0, 0.12) + 0.09 * (height - 0.5)),
        field=math.radians(float(chance.uniform(62, 88))),
        noise=float(chance.uniform(0.5, 7.0)),
        blur=float(chance.choice([0.0, 1.0]) * chance.uniform(0.5, 4.0)),
        gain=float(chance.uniform(0.8, 1.12)),
        warmth=float(chance.uniform(0.95, 1.06)),
    )


def _kinds(chance: np.random.Generator, crowd: bool) -> list[str]:
    """What stands in a still scene: copies of one kind among few others, or a mixture."""
    if crowd or chance.random() < 0.55:
        main, *others = (str(kind) for kind in chance.permutation(KINDS))
        count = int(chance.integers(2 if crowd else 1, 5))
        return [main] * count + others[: int(chance.integers(0, 3))]
    return [str(kind) for kind in chance.choice(KINDS, int(chance.integers(1, 5)))]


def _painted(thing: Thing, number: int, chance: np.random.Generator, held_out: bool) -> Thing:
    rare = HELD_OUT[thing.kind]
    color = str(chance.choice([color for color in COLORS if color != rare]))
    if held_out and chance.random() < 0.5:
        color = rare
    return replace(thing, number=number, color=color, paint=shade(color, chance))


def _reach(kind: str, camera: Camera, place: str, crowd: int) -> tuple[float, float]:
    """From where to where a thing of a kind may stand, metres, to be neither tiny nor cut."""
    width, depth, height = SHAPES[kind].size
    half = math.tan(camera.field / 2)
    across = max(width, 0.7 * depth)
    nearest = max(1.6, across / (1.2 if crowd < 3 else 0.7) / half, height / (1.3 * half))
    farthest = min(height / (0.15 * 2 * half / _ASPECT), 9.0 if place == ROOM else 16.0)
    return nearest, max(farthest, nearest * 1.2)


def _thing(
    kind: str, camera: Camera, column: float, distance: float, yaw: float, scale: float
) -> Thing:
    """A thing whose foot shows at a column of the picture; unpainted."""
    right = (column * 2 - 1) * math.tan(camera.field / 2) * distance
    return Thing(0, kind, "", (0, 0, 0), camera.x + right, camera.y + distance, yaw, scale)


def _yaw(kind: str, chance: np.random.Generator) -> float:
    """A sign is seen from its front or its back, never edge on; all else from anywhere."""
    if kind == "sign":
        return float(chance.uniform(-0.6, 0.6))
    return float(chance.uniform(-math.pi, math.pi))


def _stand(
    chance: np.random.Generator,
    camera: Camera,
    place: str,
    kind: str,
    band: tuple[float, float],
    boxes: list[Box],
    crowd: int,
) -> tuple[Thing, Box] | None:
    """A thing where it neither hides others nor is hidden, and its box; None if none was found."""
    nearest, farthest = _reach(kind, camera, place, crowd)
    for attempt in range(_TRIES):
        low, high = band if attempt < _TRIES // 2 else (0.08, 0.92)
        distance = math.exp(chance.uniform(math.log(nearest), math.log(farthest)))
        scale = float(chance.uniform(0.9, 1.15))
        thing = _thing(kind, camera, chance.uniform(low, high), distance, _yaw(kind, chance), scale)
        drawn = outline(thing, camera, _ASPECT)
        if drawn is None:
            continue
        points = drawn[0][:, 0]
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        box = (left, top, right, bottom)
        inside = max(0.0, min(right, 1) - max(left, 0)) * max(0.0, min(bottom, 1) - max(top, 0))
        if inside < 0.8 * (right - left) * (bottom - top):
            continue
        if all(_overlap(box, other) < _MOST_OVERLAP for other in boxes):
            return thing, box
    return None


def _overlap(one: Box, other: Box) -> float:
    """How much of the smaller of two boxes the other covers."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / max(min(areas), 1e-9)


def _way(
    chance: np.random.Generator, camera: Camera, place: str, kind: str, driven: float
) -> tuple[Thing, Thing]:
    """A thing at the beginning and at the end of a clip.

    What it does is seen from the camera, except that half of the things that a driving camera
    meets stand still in the world.
    """
    nearest, farthest = _reach(kind, camera, place, 2)
    nearest *= 1.15
    far = math.exp(chance.uniform(math.log(nearest), math.log(farthest)))
    column = float(chance.uniform(0.12, 0.88))
    yaw, scale = _yaw(kind, chance), float(chance.uniform(0.9, 1.1))
    margin = SHAPES[kind].size[0] * scale / (2 * math.tan(camera.field / 2)) / far
    outside = -margin - 0.15 if column < 0.5 else 1 + margin + 0.15
    nearer = max(nearest, far / chance.uniform(1.7, 3.0))
    farther = max(far, nearer * chance.uniform(1.6, 2.6))

    def at(where: float, distance: float, moved: float) -> Thing:
        thing = _thing(kind, camera, where, distance, yaw, scale)
        return replace(thing, y=thing.y + moved)

    if driven and chance.random() < 0.5:
        stands = at(column, max(farther, driven + nearest), 0.0)
        return stands, stands
    action = str(
        chance.choice(["still", "comes", "goes", "rightwards", "leftwards", "appears", "leaves"])
    )
    if action == "still":
        return at(column, far, 0.0), at(column, far, driven)
    if action in ("comes", "goes"):
        middle = 0.5 + (column - 0.5) * 0.8
        ends = (farther, nearer) if action == "comes" else (nearer, farther)
        return at(middle, ends[0], 0.0), at(middle, ends[1], driven)
    if action in ("rightwards", "leftwards"):
        left, right = float(chance.uniform(0.1, 0.3)), float(chance.uniform(0.7, 0.9))
        first, last = (left, right) if action == "rightwards" else (right, left)
        return at(first, far, 0.0), at(last, far, driven)
    inside = 0.5 + (column - 0.5) * 0.7
    first, last = (outside, inside) if action == "appears" else (inside, outside)
    return at(first, far, 0.0), at(last, far, driven)
