# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot records besides its cameras comes back by its type, from both storages."""

from __future__ import annotations

import numpy as np
import pytest

from test.bags.conftest import START_NS
from test.vehicle_messages import TYPES, header, imu, odometry, stamped_twist
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize, serialize, typestore_with
from vila_ros.bags.writer import BagWriter

DRIVE = "my_robot_msgs/msg/Drive"
DRIVE_DEFINITION = "std_msgs/Header header\nfloat32 steering_angle\nfloat32 speed\n"


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


CASES = {
    "/odom": ("nav_msgs/msg/Odometry", odometry(3.5, 0.2), lambda m: m.twist.twist.linear.x, 3.5),
    "/imu": ("sensor_msgs/msg/Imu", imu(-4.0, 0.0, 0.1), lambda m: m.linear_acceleration.x, -4.0),
    "/camera_info": ("sensor_msgs/msg/CameraInfo", camera_info(), lambda m: m.k[0], 520.0),
    "/cmd_vel": (
        "geometry_msgs/msg/TwistStamped",
        stamped_twist(3.5, 0.2),
        lambda m: m.twist.angular.z,
        0.2,
    ),
}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_standard_types(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage) as writer:
        for topic, (kind, sent, _, _) in CASES.items():
            writer.write(topic, kind, START_NS, serialize(sent, kind))
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
