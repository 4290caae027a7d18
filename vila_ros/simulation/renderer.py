# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scene, and what shows in them, by pybullet's software renderer."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.errors import Unsupported
from vila_ros.simulation.background import Background
from vila_ros.simulation.scene import Camera, FrameTruth, SeenThing, Surroundings, Thing
from vila_ros.simulation.shapes import SHAPES, Part

Picture = NDArray[np.uint8]
"""uint8 RGB, [H, W, 3]."""
_NEAR, _FAR = 0.15, 80.0


class Renderer:
    """Draws scenes of one picture size; a context manager, for one thread.

    Raises Unsupported where pybullet is not installed.
    """

    def __init__(self, width: int = 320, height: int = 240) -> None:
        self.width, self.height = width, height
        self._bullet = _simulation()
        self._shapes: dict[int, int] = {}
        self._surroundings: Surroundings | None = None
        self._background: Background | None = None
        self._bodies: dict[tuple[int, int], int] = {}  # (thing, part) -> body
        self._shown: dict[int, Thing] = {}
        self._chance = np.random.default_rng(0)

    def draw(
        self,
        surroundings: Surroundings,
        camera: Camera,
        things: Sequence[Thing],
        *,
        stamp_ns: int = 0,
        speed: float = 0.0,
        seed: int = 0,
    ) -> tuple[Picture, FrameTruth]:
        """A picture and what is true in it. seed: of the camera's grain."""
        if surroundings != self._surroundings or self._background is None:
            self._surroundings = surroundings
            self._background = Background(surroundings, (self.width, self.height))
        shown = tuple(thing for thing in things if _in_front(thing, camera))
        self._place(shown)
        color, owner = self._look(camera, surroundings)
        picture = self._background.draw(camera, shown)
        covered = owner >= 0
        picture[covered] = color[covered]
        seen = [
            _seen(thing, camera, int((owner == thing.number).sum()), self.width, self.height)
            for thing in things
        ]
        seen.sort(key=lambda each: each.distance)
        truth = FrameTruth(stamp_ns, surroundings.place, round(speed, 3), tuple(seen))
        return self._expose(picture, camera, seed), truth

    def close(self) -> None:
        """End the simulation; the renderer is used no more."""
        self._bullet.disconnect()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _place(self, things: tuple[Thing, ...]) -> None:
        """Bring the simulation's bodies to where the things are."""
        wanted = {thing.number: thing for thing in things}
        for number, before in list(self._shown.items()):
            now = wanted.get(number)
            same = now is not None and (now.kind, now.paint, now.scale) == (
                before.kind, before.paint, before.scale,
            )  # fmt: skip
            if not same:
                for key in [key for key in self._bodies if key[0] == number]:
                    self._bullet.removeBody(self._bodies.pop(key))
                del self._shown[number]
        for thing in things:
            pose = (
                [thing.x, thing.y, 0.0],
                [0.0, 0.0, math.sin(thing.yaw / 2), math.cos(thing.yaw / 2)],
            )
            for index, part in enumerate(SHAPES[thing.kind].parts):
                key = (thing.number, index)
                if key in self._bodies:
                    self._bullet.resetBasePositionAndOrientation(self._bodies[key], *pose)
                else:
                    self._bodies[key] = self._make(thing, part, pose)
            self._shown[thing.number] = thing

    def _make(self, thing: Thing, part: Part, pose: tuple[list[float], list[float]]) -> int:
        paint = thing.paint if part.paint is None else part.paint
        shape = self._bullet.createVisualShape(
            self._bullet.GEOM_MESH,
            vertices=part.vertices.tolist(),
            indices=part.indices.tolist(),
            normals=part.normals.tolist(),
            uvs=[[0.0, 0.0]] * len(part.vertices),
            meshScale=[thing.scale] * 3,
            rgbaColor=[*paint, 1.0],
            specularColor=[0.1, 0.1, 0.1],
        )
        return int(
            self._bullet.createMultiBody(
                baseVisualShapeIndex=shape, basePosition=pose[0], baseOrientation=pose[1]
            )
        )

    def _look(
        self, camera: Camera, surroundings: Surroundings
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The things' colours [H, W, 3], 0 to 1, and whose each pixel is [H, W], -1 for none's."""
        eye = [camera.x, camera.y, camera.height]
        ahead = math.cos(camera.pitch)
        target = [
            camera.x - math.sin(camera.yaw) * ahead,
            camera.y + math.cos(camera.yaw) * ahead,
            camera.height - math.sin(camera.pitch),
        ]
        half = math.tan(camera.field / 2) * self.height / self.width
        light = surroundings.light
        _, _, rgba, _, owners = self._bullet.getCameraImage(
            self.width,
            self.height,
            viewMatrix=self._bullet.computeViewMatrix(eye, target, [0, 0, 1]),
            projectionMatrix=self._bullet.computeProjectionMatrixFOV(
                math.degrees(2 * math.atan(half)), self.width / self.height, _NEAR, _FAR
            ),
            lightDirection=list(light.direction),
            lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=1.0 - light.ambient,
            lightSpecularCoeff=0.1,
            shadow=0,
            renderer=self._bullet.ER_TINY_RENDERER,
        )
        levels = np.reshape(rgba, (self.height, self.width, 4))[..., :3]
        colors = np.asarray(levels / 255, np.float32)
        bodies = np.reshape(owners, (self.height, self.width))
        thing_of = np.full(max([*self._bodies.values(), 0]) + 2, -1, np.int32)
        for (number, _), body in self._bodies.items():
            thing_of[body] = number
        return colors, thing_of[np.where(bodies < 0, len(thing_of) - 1, bodies)]

    def _expose(self, picture: NDArray[np.float32], camera: Camera, seed: int) -> Picture:
        """What the camera makes of light: blur, brightness, tint and grain."""
        if camera.blur > 0:
            picture = cv2.GaussianBlur(picture, (0, 0), max(camera.blur * self.width / 1000, 0.01))
        tint = np.array([camera.warmth, 1.0, 1.0 / camera.warmth], np.float32) * camera.gain * 255
        levels = picture * tint
        if camera.noise > 0:
            chance = np.random.default_rng(seed)
            grain = chance.standard_normal(levels.shape, dtype=np.float32)
            levels = levels + grain * camera.noise
        return np.clip(levels, 0, 255).astype(np.uint8)


def _simulation() -> Any:
    """A physics client of its own; what pybullet's C code prints when it starts is kept off."""
    sys.stdout.flush()
    with open(os.devnull, "wb") as nowhere, ExitStack() as restored:
        for number in (1, 2):
            kept = os.dup(number)
            restored.callback(os.close, kept)
            restored.callback(os.dup2, kept, number)
            os.dup2(nowhere.fileno(), number)
        try:
            import pybullet
            from pybullet_utils.bullet_client import BulletClient
        except ImportError:
            raise Unsupported(
                "Rendered scenes need pybullet, which is not installed: pip install pybullet"
            ) from None
        return BulletClient(connection_mode=pybullet.DIRECT)


def _in_front(thing: Thing, camera: Camera) -> bool:
    """Whether a thing may show: not behind the camera, nor so near that it is cut open."""
    _, ahead = relative(thing, camera)
    return ahead > 0.4 + 0.5 * SHAPES[thing.kind].size[1] * thing.scale and ahead < _FAR


def relative(thing: Thing, camera: Camera) -> tuple[float, float]:
    """Where a thing stands from the camera: metres right of its axis, and ahead."""
    dx, dy = thing.x - camera.x, thing.y - camera.y
    sin, cos = math.sin(camera.yaw), math.cos(camera.yaw)
    return dx * cos + dy * sin, dy * cos - dx * sin


def outline(
    thing: Thing, camera: Camera, aspect: float
) -> tuple[NDArray[np.float32], float] | None:
    """The convex hull of a thing's picture, [N, 1, 2], in picture widths and heights, and its area.

    aspect: width over height. None where the thing reaches behind the camera.
    """
    points = np.concatenate([part.vertices for part in SHAPES[thing.kind].parts]) * thing.scale
    sin, cos = math.sin(thing.yaw), math.cos(thing.yaw)
    x = points[:, 0] * cos - points[:, 1] * sin + thing.x - camera.x
    y = points[:, 0] * sin + points[:, 1] * cos + thing.y - camera.y
    z = points[:, 2] - camera.height
    sin, cos = math.sin(camera.yaw), math.cos(camera.yaw)
    right, ahead = x * cos + y * sin, y * cos - x * sin
    sin, cos = math.sin(camera.pitch), math.cos(camera.pitch)
    depth, up = ahead * cos - z * sin, z * cos + ahead * sin
    if depth.min() < 0.05:
        return None
    half = math.tan(camera.field / 2)
    columns = 0.5 + 0.5 * right / depth / half
    rows = 0.5 - 0.5 * up / depth / half * aspect
    hull = cv2.convexHull(np.stack([columns, rows], 1).astype(np.float32)[:, None])
    return np.asarray(hull, np.float32), float(cv2.contourArea(hull))


def _seen(thing: Thing, camera: Camera, pixels: int, width: int, height: int) -> SeenThing:
    right, ahead = relative(thing, camera)
    drawn = outline(thing, camera, width / height)
    if drawn is None:
        column, tall, visible = (0.5 + math.copysign(1.0, right)), 0.0, 0.0
    else:
        hull, area = drawn
        column = float(hull[..., 0].min() + hull[..., 0].max()) / 2
        tall = float(hull[..., 1].max() - hull[..., 1].min())
        whole = max(area * width * height * SHAPES[thing.kind].fill, 1.0)
        visible = min(pixels / whole, 1.0)
    return SeenThing(
        thing.number,
        thing.kind,
        thing.color,
        round(math.hypot(right, ahead), 2),
        round(right, 2),
        round(column, 3),
        round(tall, 3),
        round(visible, 2),
    )


def cell_owners(
    things: Sequence[Thing], camera: Camera, aspect: float, cells: int = 8
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Which thing each cell of a square grid over the picture shows most of, without drawing it.

    Returns numbers of things [cells, cells], -1 for none's, and whether a thing's middle is there.
    """
    fine = 8
    side = cells * fine
    owners = np.full((side, side), -1, np.int16)
    middles = np.zeros((cells, cells), bool)
    shown = [thing for thing in things if _in_front(thing, camera)]
    for thing in sorted(shown, key=lambda each: -math.hypot(*relative(each, camera))):
        drawn = outline(thing, camera, aspect)
        if drawn is None:
            continue
        corners = np.round(np.clip(drawn[0], -4, 4) * side).astype(np.int32)
        cv2.fillConvexPoly(owners, corners, int(thing.number))
        middle = drawn[0][:, 0].min(0) / 2 + drawn[0][:, 0].max(0) / 2
        if (middle >= 0).all() and (middle < 1).all():
            column, row = (middle * cells).astype(int).tolist()
            middles[row, column] = True
    tiled = owners.reshape(cells, fine, cells, fine).transpose(0, 2, 1, 3)
    blocks = tiled.reshape(cells, cells, fine * fine)
    found = np.full((cells, cells), -1, np.int16)
    most = np.full((cells, cells), fine * fine // 5)
    for thing in shown:
        covered = (blocks == thing.number).sum(-1)
        better = covered > most
        found[better] = thing.number
        most = np.maximum(most, covered)
    return found, middles
