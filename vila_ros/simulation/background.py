# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ground, walls and sky behind the things, drawn pixel by pixel along the camera's rays."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.simulation.scene import ROAD, ROOM, Camera, Surroundings, Thing
from vila_ros.simulation.shapes import SHAPES

Floats = NDArray[np.float32]

_LANE = 3.2
_FAR = 60.0


class Background:
    """The background of one scene, for any camera in it. size: width and height, pixels."""

    def __init__(self, surroundings: Surroundings, size: tuple[int, int]) -> None:
        self._place = surroundings.place
        self._light = surroundings.light
        self._size = size
        chance = np.random.default_rng(surroundings.seed)
        self._grain = _noise(chance, 256)
        self._ground = _float(_ground_color(self._place, chance))
        self._contrast = float(chance.uniform(0.06, 0.3))
        self._tile = float(chance.uniform(0.4, 1.6))
        self._pattern = int(chance.integers(0, 4))
        self._other = _float(np.clip(self._ground + chance.uniform(-0.14, 0.14, 3), 0.05, 0.95))
        self._wall = _float(chance.uniform(0.45, 0.85) * chance.uniform(0.9, 1.1, 3))
        self._ahead = float(chance.uniform(8.0, 14.0))
        self._beside = float(chance.uniform(4.0, 7.0)), float(chance.uniform(4.0, 7.0))
        self._high = float(chance.uniform(2.6, 4.0))
        self._sky = _float(chance.uniform(0.55, 0.85) * chance.uniform(0.92, 1.08, 3))
        self._hedge = _float(chance.uniform(0.15, 0.45) * chance.uniform(0.75, 1.25, 3))
        self._verge = _float([0.30, 0.42, 0.22] * chance.uniform(0.7, 1.2, 3))
        self._bounds = chance.uniform(0.4, 1.0, 256).astype(np.float32)
        self._marked = bool(chance.random() < 0.8)
        self._shift = float(chance.uniform(-1.0, 1.0))

    def draw(self, camera: Camera, things: tuple[Thing, ...]) -> Floats:
        """float32 [H, W, 3] RGB, 0 to 1; things cast soft shadows."""
        rays = _rays(camera, self._size)
        if self._place == ROOM:
            picture = self._room(camera, rays, things)
        else:
            picture = self._outdoors(camera, rays, things)
        return _float(picture)

    def _floor(self, x: Floats, y: Floats, things: tuple[Thing, ...]) -> Floats:
        """Colours of points of the ground."""
        cells = 12.0
        u = (x * cells).astype(np.int32) & 255
        v = (y * cells).astype(np.int32) & 255
        coarse = self._grain[(u >> 3), (v >> 3)]
        color = self._ground + np.zeros((*x.shape, 3), np.float32)
        if self._pattern == 1 and self._place != ROAD:
            odd = (np.floor(x / self._tile) + np.floor(y / self._tile)) % 2
            color = np.where(odd[..., None] > 0, self._other, color)
        elif self._pattern == 2 and self._place != ROAD:
            odd = np.floor(x / (self._tile * 0.3)) % 2
            color = np.where(odd[..., None] > 0, self._other, color)
        fade = np.exp(-np.abs(y) / 14.0)
        grain = (self._grain[u, v] - 0.5) * fade + (coarse - 0.5) * 0.6
        color = color * (1.0 + self._contrast * grain[..., None] * 2)
        if self._place == ROAD:
            color = self._road(color, x + self._shift, y)
        for thing in things:
            width, depth, _ = SHAPES[thing.kind].size
            sun = self._light.direction
            reach = 0.25 * thing.scale / max(sun[2], 0.5)
            dx = (x - thing.x + sun[0] * reach) / (0.62 * width * thing.scale)
            dy = (y - thing.y + sun[1] * reach) / (0.62 * depth * thing.scale)
            near = dx * dx + dy * dy
            touched = near < 3.0
            depth = 0.5 * (1.0 - self._light.ambient * 0.6)
            color[touched] *= 1.0 - depth * np.exp(-(near[touched] ** 2))[:, None]
        return color

    def _road(self, color: Floats, x: Floats, y: Floats) -> Floats:
        outside = (x < -1.5 * _LANE) | (x > _LANE / 2)
        grain = self._grain[(x * 9).astype(np.int32) & 255, (y * 9).astype(np.int32) & 255]
        color = np.where(outside[..., None], self._verge * (0.75 + 0.5 * grain[..., None]), color)
        if self._marked:
            edge = (np.abs(x - _LANE / 2) < 0.08) | (np.abs(x + 1.5 * _LANE) < 0.08)
            dash = (np.abs(x + _LANE / 2) < 0.07) & (np.mod(y, 6.0) < 2.4)
            color[edge | dash] = 0.86
        return color

    def _room(self, camera: Camera, rays: Floats, things: tuple[Thing, ...]) -> Floats:
        """A box-shaped room; which of its five sides a ray meets first."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = [
                np.where(rays[..., 2] < 0, -camera.height / rays[..., 2], np.inf),
                np.where(rays[..., 1] > 0, self._ahead / rays[..., 1], np.inf),
                np.where(rays[..., 0] < 0, -self._beside[0] / rays[..., 0], np.inf),
                np.where(rays[..., 0] > 0, self._beside[1] / rays[..., 0], np.inf),
                np.where(rays[..., 2] > 0, (self._high - camera.height) / rays[..., 2], np.inf),
            ]
        nearest = np.stack(reach).argmin(0)
        far = np.minimum(np.stack(reach).min(0), _FAR)
        x, y = camera.x + rays[..., 0] * far, camera.y + rays[..., 1] * far
        z = camera.height + rays[..., 2] * far
        floor = self._floor(x, y, things)
        grain = self._grain[
            (np.where(nearest == 1, x, y) * 5).astype(np.int32) & 255,
            (z * 5).astype(np.int32) & 255,
        ]
        wall = self._wall * (1.0 + 0.12 * (grain[..., None] - 0.5))
        light = _float([1.0, 0.95, 0.82, 0.88, 1.05])[nearest][..., None]
        wall = np.where((z < 0.12)[..., None], wall * 0.6, wall)  # the skirting
        return np.where((nearest == 0)[..., None], floor, wall * light)

    def _outdoors(self, camera: Camera, rays: Floats, things: tuple[Thing, ...]) -> Floats:
        down = rays[..., 2] < -1e-3
        far = np.where(down, -camera.height / np.where(down, rays[..., 2], -1.0), _FAR)
        far = np.minimum(far, _FAR)
        x, y = camera.x + rays[..., 0] * far, camera.y + rays[..., 1] * far
        floor = self._floor(x, y, things)
        haze = np.exp(-far / 45.0)[..., None]
        floor = floor * haze + self._sky * 0.9 * (1 - haze)
        up = np.clip(rays[..., 2], 0.0, 1.0)[..., None]
        sky = self._sky * (1.06 - 0.35 * up)
        # A row of houses or trees along the horizon.
        turn = np.arctan2(rays[..., 0], rays[..., 1])
        column = (turn * 24.0).astype(np.int32) & 255
        tall = self._bounds[column] * 0.13
        hedge = self._hedge * (0.7 + 0.5 * self._bounds[(column * 7) & 255])[..., None]
        sky = np.where((rays[..., 2] < tall)[..., None], hedge, sky)
        return np.where(down[..., None], floor, sky)


def _rays(camera: Camera, size: tuple[int, int]) -> Floats:
    """The direction of each pixel's ray, [H, W, 3]; of length 1 along the camera's axis."""
    width, height = size
    half = math.tan(camera.field / 2)
    right = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1) * height / width
    x = np.broadcast_to(right * half, (height, width))
    z = np.broadcast_to(-down[:, None] * half, (height, width))
    sin, cos = math.sin(camera.pitch), math.cos(camera.pitch)
    ahead, up = cos + z * sin, z * cos - sin
    turn_sin, turn_cos = math.sin(camera.yaw), math.cos(camera.yaw)
    rays = np.stack([x * turn_cos - ahead * turn_sin, x * turn_sin + ahead * turn_cos, up], -1)
    return rays.astype(np.float32)


def _float(numbers: object) -> Floats:
    return np.asarray(numbers, np.float32)


def _noise(chance: np.random.Generator, side: int) -> Floats:
    """Smooth noise of two sizes, 0 to 1, that repeats at its borders."""
    fine = chance.random((side, side), dtype=np.float32)
    rough = cv2.resize(
        chance.random((side // 8, side // 8), dtype=np.float32), (side, side),
        interpolation=cv2.INTER_CUBIC,
    )  # fmt: skip
    return np.clip(0.5 * fine + 0.5 * rough, 0, 1).astype(np.float32)


def _ground_color(place: str, chance: np.random.Generator) -> NDArray[np.float64]:
    if place == ROAD:
        return np.full(3, chance.uniform(0.24, 0.5)) * chance.uniform(0.95, 1.05, 3)
    if place == ROOM:
        tints = ([0.60, 0.45, 0.32], [0.55, 0.55, 0.55], [0.42, 0.44, 0.50], [0.68, 0.62, 0.52])
        return np.array(tints[chance.integers(4)]) * chance.uniform(0.75, 1.2)
    tints = ([0.28, 0.42, 0.20], [0.60, 0.58, 0.54], [0.62, 0.52, 0.38], [0.45, 0.42, 0.38])
    return np.array(tints[chance.integers(4)]) * chance.uniform(0.75, 1.2)
