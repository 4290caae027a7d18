# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a vehicle moves, read from the topics of a recording by their types.

| type | what is read |
|---|---|
| nav_msgs/Odometry, geometry_msgs/Twist, TwistStamped | speed, yaw rate |
| sensor_msgs/Imu | acceleration ahead and to the left, yaw rate |
| ackermann_msgs/AckermannDrive, AckermannDriveStamped | speed, steering angle |
| std_msgs/Float32, Float64 | what their topic's name says: speed or velocity; steering or angle |

Axes as in REP-103: x ahead, y to the left, z up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rosbags.typesys.store import Typestore

from vila_ros.bags.serialization import deserialize, standard_types, typestore_with
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRecording

_ACKERMANN_DRIVE = (
    "float32 steering_angle\nfloat32 steering_angle_velocity\n"
    "float32 speed\nfloat32 acceleration\nfloat32 jerk\n"
)
# For recordings that carry no definitions; field names and order as in ackermann_msgs.
_DEFINITIONS = {
    "ackermann_msgs/msg/AckermannDrive": _ACKERMANN_DRIVE,
    "ackermann_msgs/msg/AckermannDriveStamped": (
        "std_msgs/Header header\nackermann_msgs/AckermannDrive drive\n"
        f"{'=' * 80}\nMSG: ackermann_msgs/AckermannDrive\n{_ACKERMANN_DRIVE}"
    ),
}
_NUMBERS = ("std_msgs/msg/Float32", "std_msgs/msg/Float64")


@dataclass(frozen=True, slots=True)
class MotionSample:
    """What one message says; None for what it does not.

    recorded_ns: nanoseconds. speed: m/s, negative in reverse. yaw_rate: rad/s, left is positive.
    ahead, left: acceleration, m/s², gravity's part in it included. steering: rad, left is positive.
    """

    topic: str
    recorded_ns: int
    speed: float | None = None
    yaw_rate: float | None = None
    ahead: float | None = None
    left: float | None = None
    steering: float | None = None


def motion_topics(recording: Recording) -> tuple[str, ...]:
    """The topics that say how the vehicle moves."""
    return tuple(
        name
        for name, topic in sorted(recording.topics.items())
        if topic.count and _reader(name, topic.type) is not None
    )


def motion_samples(
    recording: Recording,
    start_ns: int,
    end_ns: int,
    skipped: Callable[[str], None],
    steering_scale: float = 1.0,
) -> Iterator[MotionSample]:
    """All that the topics say, in time order.

    steering_scale: rad a unit of a number that says steering, for those have no unit. skipped: told
    of messages that cannot be read.
    """
    topics = motion_topics(recording)
    if not topics:
        return
    store = _store(recording, topics)
    for message in recording.messages(topics, start_ns, end_ns):
        reader = _reader(message.topic, message.type)
        if reader is None:  # a topic may have messages of a second type
            continue
        try:
            fields = reader(deserialize(message, store))
        except InvalidRecording as error:
            skipped(error.message)
            continue
        if any(value is not None and not math.isfinite(value) for value in fields.values()):
            continue
        if message.type in _NUMBERS and fields.get("steering") is not None:
            fields = {"steering": (fields["steering"] or 0.0) * steering_scale}
        yield MotionSample(message.topic, message.stamp_ns, **fields)


_Reader = Callable[[Any], Mapping[str, float | None]]


def _reader(topic: str, message_type: str) -> _Reader | None:
    if message_type in _NUMBERS:
        name = topic.lower()
        if "steer" in name or "angle" in name:
            return _read_steering
        if "speed" in name or "velocity" in name:
            return _read_speed
        return None
    return _READERS.get(message_type)


def _read_speed(message: Any) -> Mapping[str, float | None]:
    return {"speed": float(message.data)}


def _read_steering(message: Any) -> Mapping[str, float | None]:
    return {"steering": float(message.data)}


def _read_twist(message: Any) -> Mapping[str, float | None]:
    return {"speed": float(message.linear.x), "yaw_rate": float(message.angular.z)}


def _read_imu(message: Any) -> Mapping[str, float | None]:
    acceleration = message.linear_acceleration
    # A covariance that begins with -1 says that the sensor does not measure it (Imu.msg).
    measured = message.linear_acceleration_covariance[0] != -1
    turning = message.angular_velocity_covariance[0] != -1
    return {
        "ahead": float(acceleration.x) if measured else None,
        "left": float(acceleration.y) if measured else None,
        "yaw_rate": float(message.angular_velocity.z) if turning else None,
    }


def _read_ackermann(message: Any) -> Mapping[str, float | None]:
    return {"speed": float(message.speed), "steering": float(message.steering_angle)}


_READERS: Mapping[str, _Reader] = {
    "nav_msgs/msg/Odometry": lambda message: _read_twist(message.twist.twist),
    "geometry_msgs/msg/Twist": _read_twist,
    "geometry_msgs/msg/TwistStamped": lambda message: _read_twist(message.twist),
    "sensor_msgs/msg/Imu": _read_imu,
    "ackermann_msgs/msg/AckermannDrive": _read_ackermann,
    "ackermann_msgs/msg/AckermannDriveStamped": lambda message: _read_ackermann(message.drive),
}


def _store(recording: Recording, topics: tuple[str, ...]) -> Typestore:
    types = {recording.topics[name].type for name in topics}
    foreign = types - set(standard_types().types)
    if not foreign:
        return standard_types()
    return typestore_with(
        {name: recording.definition(name) or _DEFINITIONS[name] for name in sorted(foreign)}
    )
