# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Hard braking and steering: moments at which a vehicle's motion exceeds a limit."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields

from vila_ros.annotation.miners import Moment, Unmoved
from vila_ros.annotation.types import Reason
from vila_ros.annotation.vehicle_motion import MotionSample, motion_samples
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRequest

_SLOPE_WINDOW_NS = 400_000_000  # speed and steering are derived over this time
_MEAN_WINDOW_NS = 200_000_000  # an accelerometer's noise is averaged over this time
_BASELINE_S = 5.0  # what an accelerometer says for so long is gravity and its own offset
_GAP_NS = 1_000_000_000  # nothing is derived across a longer pause
_EVENT_NS = 2_000_000_000  # an event that lasts longer is told anew
_MOVING = 0.5  # m/s; turning on the spot is how many robots move
_LISTEN_BEFORE_NS = 15_000_000_000
"""How long before a slice listening begins, so that the slices' borders do not show."""


@dataclass(frozen=True, slots=True)
class MotionLimits:
    """From where on motion is worth a look; all greater than 0.

    deceleration, lateral_acceleration: m/s². yaw_rate, steering_rate: rad/s.
    """

    deceleration: float = 3.0
    lateral_acceleration: float = 3.0
    yaw_rate: float = 1.0
    steering_rate: float = 1.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidRequest(f"{field.name} is {value}; it must be greater than 0")


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is told of an event: its name, its unit, and the word for it."""

    name: str
    unit: str
    text: str


_KINDS = {
    "deceleration": _Kind("deceleration", "m/s²", "braked hard"),
    "lateral_acceleration": _Kind("lateral_acceleration", "m/s²", "cornered hard"),
    "yaw_rate": _Kind("yaw_rate", "rad/s", "turned quickly"),
    "steering_rate": _Kind("steering_rate", "rad/s", "steered quickly"),
}


class HardMotion(Unmoved):
    """A Miner of hard braking, cornering, turning and steering."""

    def __init__(
        self,
        limits: MotionLimits,
        steering_scale: float = 1.0,
        skipped: Callable[[str], None] = lambda _: None,
    ) -> None:
        """See motion_samples for steering_scale and skipped."""
        self._limits = limits
        self._scale = steering_scale
        self._skipped = skipped

    def listen(self, recording: Recording, start_ns: int, end_ns: int) -> Iterable[Moment]:
        """The peaks of all events, in time order."""
        samples = motion_samples(
            recording, start_ns - _LISTEN_BEFORE_NS, end_ns + _EVENT_NS, self._skipped, self._scale
        )
        moments = hard_moments(samples, self._limits)
        found = [moment for moment in moments if start_ns <= moment.recorded_ns <= end_ns]
        return sorted(found, key=lambda moment: (moment.recorded_ns, moment.reason.text))


def hard_moments(samples: Iterable[MotionSample], limits: MotionLimits) -> Iterator[Moment]:
    """The peaks of everything beyond the limits, each topic on its own."""
    events: dict[tuple[str, str], _Event] = {}
    derived: dict[str, _Derived] = {}
    for sample in samples:
        if sample.topic not in derived or not derived[sample.topic].goes_on(sample):
            derived[sample.topic] = _Derived()
        for name, value in derived[sample.topic].add(sample).items():
            key = (sample.topic, name)
            if key not in events:
                events[key] = _Event(sample.topic, _KINDS[name], getattr(limits, name))
            yield from events[key].add(sample.recorded_ns, value)
    for event in events.values():
        yield from event.end()


class _Derived:
    """What follows from the samples of one topic."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._speed, self._steering = _Slope(), _Slope()
        self._ahead, self._left = _Excess(), _Excess()

    def goes_on(self, sample: MotionSample) -> bool:
        """Whether a sample follows closely on those before."""
        return self._last_ns is None or 0 <= sample.recorded_ns - self._last_ns <= _GAP_NS

    def add(self, sample: MotionSample) -> dict[str, float]:
        """Values to hold against the limits, by their names."""
        now = self._last_ns = sample.recorded_ns
        values: dict[str, float] = {}
        if sample.speed is not None:
            values["deceleration"] = -self._speed.add(now, abs(sample.speed))
        if sample.steering is not None:
            values["steering_rate"] = abs(self._steering.add(now, sample.steering))
        if sample.ahead is not None:
            values["deceleration"] = -self._ahead.add(now, sample.ahead)
        if sample.left is not None:
            values["lateral_acceleration"] = abs(self._left.add(now, sample.left))
        if sample.yaw_rate is not None and (sample.speed is None or abs(sample.speed) > _MOVING):
            values["yaw_rate"] = abs(sample.yaw_rate)
            if sample.speed is not None:
                values["lateral_acceleration"] = abs(sample.yaw_rate * sample.speed)
        return values


class _Slope:
    """The slope of a line through the values of the last moments, a second."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque()

    def add(self, now: int, value: float) -> float:
        """0 until half of the window is there."""
        points = self._points
        points.append((now, value))
        while now - points[0][0] > _SLOPE_WINDOW_NS:
            points.popleft()
        if now - points[0][0] < _SLOPE_WINDOW_NS // 2:
            return 0.0
        times = [(at - now) / 1e9 for at, _ in points]
        middle = sum(times) / len(times)
        spread = sum((at - middle) ** 2 for at in times)
        product = sum((at - middle) * v for at, (_, v) in zip(times, points, strict=True))
        return product / spread if spread > 0 else 0.0


class _Excess:
    """How far an accelerometer's axis is from what it says in the long run."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque()
        self._baseline: float | None = None

    def add(self, now: int, value: float) -> float:
        """0 until half of the window is there."""
        if self._baseline is None:
            self._baseline = value
        elif self._points:
            passed = (now - self._points[-1][0]) / 1e9
            self._baseline += (value - self._baseline) * (1 - math.exp(-passed / _BASELINE_S))
        points = self._points
        points.append((now, value))
        while now - points[0][0] > _MEAN_WINDOW_NS:
            points.popleft()
        if now - points[0][0] < _MEAN_WINDOW_NS // 2:
            return 0.0
        return sum(value for _, value in points) / len(points) - self._baseline


class _Event:
    """One stretch beyond a limit, told by its peak once it is over."""

    def __init__(self, topic: str, kind: _Kind, limit: float) -> None:
        self._topic, self._kind, self._limit = topic, kind, limit
        self._began = 0
        self._peak: tuple[int, float] | None = None

    def add(self, now: int, value: float) -> Iterator[Moment]:
        """The moment, if one ends now; half the limit ends it, so that noise does not split it."""
        if self._peak is not None and (value < self._limit / 2 or now - self._began > _EVENT_NS):
            yield from self.end()
        if value >= self._limit:
            if self._peak is None:
                self._began = now
            if self._peak is None or value > self._peak[1]:
                self._peak = (now, value)

    def end(self) -> Iterator[Moment]:
        """The moment that is going on, if one is."""
        if self._peak is None:
            return
        at, value = self._peak
        self._peak = None
        kind = self._kind
        reason = Reason(
            "motion",
            f"{kind.text}: {value:.1f} {kind.unit} ({self._topic})",
            round(1 - self._limit / (2 * value), 4),
            {kind.name: round(value, 3), "limit": self._limit, "topic": self._topic},
        )
        yield Moment(at, reason)
