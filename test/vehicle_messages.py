# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a vehicle moves, as the messages that robots publish of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vila_ros.bags.serialization import standard_types

TYPES = standard_types().types


def header(stamp_ns: int = 10**9) -> Any:
    seconds, rest = divmod(stamp_ns, 10**9)
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id="base_link")


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    return TYPES["geometry_msgs/msg/Vector3"](x=x, y=y, z=z)


def twist(speed: float, yaw_rate: float) -> Any:
    return TYPES["geometry_msgs/msg/Twist"](linear=vector(speed), angular=vector(z=yaw_rate))


def stamped_twist(speed: float, yaw_rate: float) -> Any:
    kind = TYPES["geometry_msgs/msg/TwistStamped"]
    return kind(header=header(), twist=twist(speed, yaw_rate))


def odometry(speed: float, yaw_rate: float) -> Any:
    pose = TYPES["geometry_msgs/msg/Pose"](
        position=TYPES["geometry_msgs/msg/Point"](x=1.0, y=2.0, z=0.0), orientation=_level()
    )
    nothing = np.zeros(36)
    return TYPES["nav_msgs/msg/Odometry"](
        header=header(),
        child_frame_id="base_link",
        pose=TYPES["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=nothing),
        twist=TYPES["geometry_msgs/msg/TwistWithCovariance"](
            twist=twist(speed, yaw_rate), covariance=nothing
        ),
    )


def imu(ahead: float, left: float, yaw_rate: float, measured: bool = True) -> Any:
    """measured: whether it has an accelerometer; without, a covariance begins with -1."""
    known = np.zeros(9)
    unknown = np.array([-1.0, *[0.0] * 8])
    return TYPES["sensor_msgs/msg/Imu"](
        header=header(),
        orientation=_level(),
        orientation_covariance=unknown,
        angular_velocity=vector(z=yaw_rate),
        angular_velocity_covariance=known,
        linear_acceleration=vector(ahead, left, 9.81),
        linear_acceleration_covariance=known if measured else unknown,
    )


def _level() -> Any:
    return TYPES["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0)
