# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a scene consists of, and what is true in a picture of it.

The world's x points right, y ahead and z up, in metres, as the camera stood at its start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from vila_ros.simulation.shapes import Rgb

ROOM, ROAD, YARD = "room", "road", "yard"
PLACES = (ROOM, ROAD, YARD)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. x, y, height in metres; yaw to the left, pitch downwards, field in radians.

    field: the horizontal field of view. noise: grain, standard deviation of 255. blur: of a
    Gaussian, in thousandths of the picture's width. gain: brightness; warmth: red over blue.
    """

    x: float = 0.0
    y: float = 0.0
    height: float = 1.2
    yaw: float = 0.0
    pitch: float = 0.1
    field: float = math.radians(70)
    noise: float = 3.0
    blur: float = 0.0
    gain: float = 1.0
    warmth: float = 1.0


@dataclass(frozen=True)
class Light:
    """Where light comes from (x, y, z) and how much of it is everywhere, 0 to 1."""

    direction: tuple[float, float, float] = (-1.0, -2.0, 3.0)
    ambient: float = 0.55


@dataclass(frozen=True)
class Thing:
    """Something in the scene. number: the same in all pictures of a scene."""

    number: int
    kind: str
    color: str
    paint: Rgb
    x: float
    y: float
    yaw: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Surroundings:
    """The background. place: room, road or yard. seed: of its textures and colours."""

    place: str
    seed: int
    light: Light = Light()


@dataclass(frozen=True, slots=True)
class SeenThing:
    """A thing as a picture shows it.

    distance: metres from the camera. side: metres right of its axis. column: of its centre in the
    picture, 0 (left) to 1 (right), also outside. height: in the picture, of its height. visible:
    how much of it shows, 0 to 1; the rest is outside or behind others.
    """

    number: int
    kind: str
    color: str
    distance: float
    side: float
    column: float
    height: float
    visible: float


@dataclass(frozen=True, slots=True)
class FrameTruth:
    """What is true at a picture. speed: the camera's, m/s. things: nearest first, hidden too."""

    stamp_ns: int
    place: str
    speed: float
    things: tuple[SeenThing, ...]
