# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole simulated drive: a recording with its truth, for demonstrations and tests.

The robot drives along a road, stops, and something happens before it; then it drives on. Each stop
has an event of its own (something crosses, comes, goes, or turns up), beside things that stand by
the road. The same seed makes the same drive; no training scene is one of its moments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.bags.drive_recording import START_NS, record_drive
from vila_ros.errors import InvalidRequest
from vila_ros.simulation.questions import Asked, Questioner
from vila_ros.simulation.renderer import Renderer
from vila_ros.simulation.scene import ROAD, Camera, FrameTruth, Light, Surroundings, Thing
from vila_ros.simulation.shapes import COLORS, KINDS, shade

JPEG_QUALITY = 92

EVENTS = ("crosses to the right", "comes closer", "crosses to the left", "moves away", "appears")
DRIVING, STANDING = 2.5, 4.0  # seconds of each leg, in this order, again and again
_SPEED = 3.6
_MOVING = 3.0  # seconds that an event takes, within the standing
_LEG = _SPEED * DRIVING
_FIELD = math.radians(72)
_MOST_SECONDS = 600.0

Picture = NDArray[np.uint8]
"""uint8 RGB, [H, W, 3]."""


@dataclass(frozen=True)
class _Mover:
    """A thing that moves from one place to another between two times, and stands otherwise."""

    thing: Thing
    end: tuple[float, float]
    begins: float
    ends: float

    def at(self, now: float) -> Thing:
        part = min(max((now - self.begins) / max(self.ends - self.begins, 1e-6), 0.0), 1.0)
        x = self.thing.x + (self.end[0] - self.thing.x) * part
        y = self.thing.y + (self.end[1] - self.thing.y) * part
        return Thing(
            self.thing.number, self.thing.kind, self.thing.color, self.thing.paint,
            x, y, self.thing.yaw, self.thing.scale,
        )  # fmt: skip


def drive(
    seed: int = 0, seconds: float = 26.0, rate: float = 5.0, size: tuple[int, int] = (640, 480)
) -> Iterator[tuple[Picture, FrameTruth]]:
    """The frames of a drive and what is true in each. rate: frames a second. size: in pixels.

    Raises InvalidRequest for numbers out of range, Unsupported where pybullet is not installed.
    """
    if not 0 < seconds <= _MOST_SECONDS:
        raise InvalidRequest(f"seconds is {seconds:g}; a drive takes up to {_MOST_SECONDS:g} s")
    if not 0.1 <= rate <= 60:
        raise InvalidRequest(f"rate is {rate:g}; it must be within 0.1 and 60 frames a second")
    chance = np.random.default_rng([seed, 3])
    light = Light((float(chance.uniform(-1.5, 1.5)), -1.5, 3.0), float(chance.uniform(0.5, 0.65)))
    surroundings = Surroundings(ROAD, int(chance.integers(1 << 31)), light)
    movers = _movers(chance, seconds)
    with Renderer(*size) as renderer:
        for index in range(math.ceil(seconds * rate)):
            now = index / rate
            camera = Camera(y=_driven(now), height=1.15, pitch=0.1, field=_FIELD, noise=2.5)
            things = [mover.at(now) for mover in movers]
            near = [thing for thing in things if -4.0 < thing.y - camera.y < 14.0]
            yield renderer.draw(
                surroundings, camera, near,
                stamp_ns=START_NS + round(now * 1e9), speed=_speed(now),
                seed=seed * 100_003 + index,
            )  # fmt: skip


def write_drive(
    path: Path,
    seed: int = 0,
    seconds: float = 26.0,
    rate: float = 5.0,
    size: tuple[int, int] = (640, 480),
    storage: str = "mcap",
    on_frame: Callable[[int, int], None] | None = None,
) -> list[FrameTruth]:
    """Record a drive: pictures as JPEG, the speed, and the truth as JSON in a string.

    on_frame: told after each picture how many there are by now, and will be.
    Returns what is true at each frame. Raises as drive() does, and InvalidRecording if the folder
    cannot be written.
    """
    truths = []
    frames = (
        (cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), truth)
        for picture, truth in drive(seed, seconds, rate, size)
    )
    for truth in record_drive(path, frames, JPEG_QUALITY, storage):  # type: ignore[arg-type]
        truths.append(truth)
        if on_frame is not None:
            on_frame(len(truths), math.ceil(seconds * rate))
    return truths


def event_windows(seconds: float) -> list[tuple[float, float]]:
    """When events of a drive begin and end, seconds since its start: ask about these windows."""
    found = []
    start = DRIVING
    while start + STANDING <= seconds:
        found.append((start + 0.4, start + 0.6 + _MOVING))
        start += DRIVING + STANDING
    return found


def ask_about(truths: Sequence[FrameTruth], task: str, seed: int = 0) -> Asked | None:
    """A question about frames, in time order, and its true answer; None where none is clear.

    task: one of questions.TASKS (about the last frame) or CLIP_TASKS (about all of them).
    """
    return Questioner(truths, np.random.default_rng(seed), rare=True).ask(task)


def _driven(now: float) -> float:
    """Metres that the robot has driven."""
    legs, within = divmod(now, DRIVING + STANDING)
    return _LEG * legs + _SPEED * min(within, DRIVING)


def _speed(now: float) -> float:
    return _SPEED if now % (DRIVING + STANDING) < DRIVING else 0.0


def _movers(chance: np.random.Generator, seconds: float) -> list[_Mover]:
    """For each stop an event, and something that stands by the road; kinds differ in between."""
    made: list[_Mover] = []
    kinds: list[str] = []
    events: list[str] = []
    stops = math.ceil(seconds / (DRIVING + STANDING)) + 1
    for stop in range(stops):
        events = events or [str(each) for each in chance.permutation(EVENTS)]
        for what in (events.pop(0), "stands"):
            recent = kinds[-3:]
            kind = str(chance.choice([each for each in KINDS if each not in recent]))
            kinds.append(kind)
            made.append(_mover(chance, len(made), kind, what, stop))
    return made


def _mover(chance: np.random.Generator, number: int, kind: str, what: str, stop: int) -> _Mover:
    color = str(chance.choice(COLORS))
    base = _LEG * (stop + 1)  # where the robot stands
    begins = stop * (DRIVING + STANDING) + DRIVING + 0.5
    half = math.tan(_FIELD / 2)
    large = kind in ("car", "table")
    near, far = (4.5, 9.0) if large else (2.8, 6.0)
    yaw = float(chance.uniform(-0.5, 0.5)) if kind == "sign" else float(chance.uniform(-3, 3))

    def place(column: float, distance: float) -> tuple[float, float]:
        return (column * 2 - 1) * half * distance, base + distance

    middle = (near + far) / 2
    beside = float(chance.choice([-1.0, 1.0]))
    ends = {
        "crosses to the right": (place(0.16, middle), place(0.84, middle)),
        "crosses to the left": (place(0.84, middle), place(0.16, middle)),
        "comes closer": (place(0.44, far), place(0.28, near)),
        "moves away": (place(0.28, near), place(0.44, far)),
        "appears": (place(0.5 + beside * 1.0, middle), place(0.5 + beside * 0.2, middle)),
        "stands": (place(0.5 + beside * 0.37, far), place(0.5 + beside * 0.37, far)),
    }
    start, end = ends[what]
    thing = Thing(number, kind, color, shade(color, chance), *start, yaw)
    return _Mover(thing, end, begins, begins + _MOVING)
