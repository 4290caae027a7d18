# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot records besides its cameras comes back by its type, from both storages."""

from __future__ import annotations

import numpy as np
import pytest

from test.bags.conftest import START_NS
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize, serialize, standard_types, typestore_with
from vila_ros.bags.writer import BagWriter

TYPES = standard_types().types
DRIVE = "my_robot_msgs/msg/Drive"
DRIVE_DEFINITION = "std_msgs/Header header\nfloat32 steering_angle\nfloat32 speed\n"


def time():
    seconds, rest = divmod(START_NS, 10**9)
    return TYPES["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)


def header():
    return TYPES["std_msgs/msg/Header"](stamp=time(), frame_id="base_link")


def vector(kind: str, *values: float):
    names = ("x", "y", "z", "w")[: len(values)]
    return TYPES[f"geometry_msgs/msg/{kind}"](**dict(zip(names, values, strict=True)))


def twist():
    return TYPES["geometry_msgs/msg/Twist"](
        linear=vector("Vector3", 3.5, 0.0, 0.0), angular=vector("Vector3", 0.0, 0.0, 0.2)
    )


def odometry():
    pose = TYPES["geometry_msgs/msg/Pose"](
        position=vector("Point", 1.0, 2.0, 0.0),
        orientation=vector("Quaternion", 0.0, 0.0, 0.0, 1.0),
    )
    nothing = np.zeros(36)
    return TYPES["nav_msgs/msg/Odometry"](
        header=header(),
        child_frame_id="base_link",
        pose=TYPES["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=nothing),
        twist=TYPES["geometry_msgs/msg/TwistWithCovariance"](twist=twist(), covariance=nothing),
    )


def imu():
    nothing = np.zeros(9)
    return TYPES["sensor_msgs/msg/Imu"](
        header=header(),
        orientation=vector("Quaternion", 0.0, 0.0, 0.0, 1.0),
        orientation_covariance=nothing,
        angular_velocity=vector("Vector3", 0.0, 0.0, 0.1),
        angular_velocity_covariance=nothing,
        linear_acceleration=vector("Vector3", -4.0, 0.0, 9.81),
        linear_acceleration_covariance=nothing,
    )


def camera_info():
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(),
        height=360,
        width=640,
        distortion_model="plumb_bob",
        d=np.array([0.1, -0.2, 0.0, 0.0, 0.0]),
        k=np.array([520.0, 0, 320, 0, 520, 180, 0, 0, 1]),
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=TYPES["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def stamped_twist():
    return TYPES["geometry_msgs/msg/TwistStamped"](header=header(), twist=twist())


CASES = {
    "/odom": ("nav_msgs/msg/Odometry", odometry, lambda m: m.twist.twist.linear.x, 3.5),
    "/imu": ("sensor_msgs/msg/Imu", imu, lambda m: m.linear_acceleration.x, -4.0),
    "/camera_info": ("sensor_msgs/msg/CameraInfo", camera_info, lambda m: m.k[0], 520.0),
    "/cmd_vel": ("geometry_msgs/msg/TwistStamped", stamped_twist, lambda m: m.twist.angular.z, 0.2),
}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_standard_types(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage) as writer:
        for topic, (kind, make, _, _) in CASES.items():
            writer.write(topic, kind, START_NS, serialize(make(), kind))
    recording = open_recording(tmp_path / "bag")
    assert {name: topic.type for name, topic in recording.topics.items()} == {
        topic: kind for topic, (kind, _, _, _) in CASES.items()
    }
    for message in recording.messages():
        _, _, value, expected = CASES[message.topic]
        assert value(deserialize(message)) == expected


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_control_type_of_ones_own_is_read_by_the_recordings_definition(tmp_path, storage):
    store = typestore_with({DRIVE: DRIVE_DEFINITION})
    drive = store.types[DRIVE](header=header(), steering_angle=0.25, speed=2.0)
    with BagWriter(tmp_path / "bag", storage) as writer:
        writer.add_topic("/drive", DRIVE, DRIVE_DEFINITION)
        writer.write("/drive", DRIVE, START_NS, serialize(drive, DRIVE, store))
    recording = open_recording(tmp_path / "bag")
    (message,) = recording.messages(["/drive"])
    known = typestore_with({DRIVE: recording.definition(DRIVE)})
    assert deserialize(message, known).steering_angle == 0.25
