# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Hard braking and steering, read from whatever topics a recording has."""

import math

import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from test.annotation.conftest import START_NS
from test.vehicle_messages import header, imu, odometry, stamped_twist, twist
from vila_ros.annotation.motion import HardMotion, MotionLimits, hard_moments
from vila_ros.annotation.vehicle_motion import MotionSample, motion_samples, motion_topics
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import (
    serialize,
    serialize_float32,
    standard_types,
    typestore_with,
)
from vila_ros.bags.writer import BagWriter
from vila_ros.errors import InvalidRequest

HZ = 50
END_NS = START_NS + 60_000_000_000


def at(seconds):
    return START_NS + round(seconds * 1e9)


def samples(seconds, **signals):
    """Samples of signals, each a function of time, at 50 Hz."""
    for index in range(round(seconds * HZ)):
        now = index / HZ
        values = {name: signal(now) for name, signal in signals.items()}
        yield MotionSample("/odom", at(now), **values)


def braking(rate, start=5.0, speed=10.0):
    """A speed that falls by `rate` m/s² from a time on, down to a stop."""
    return lambda now: max(0.0, speed - rate * max(0.0, now - start))


def moments(*args, limits=None, **signals):
    return list(hard_moments(samples(*args, **signals), limits or MotionLimits()))


def test_braking_beyond_the_limit_is_one_moment_at_its_peak():
    (moment,) = moments(10, speed=braking(5.0))
    assert moment.reason.miner == "motion"
    assert moment.reason.text == "braked hard: 5.0 m/s² (/odom)"
    assert moment.reason.details["deceleration"] == pytest.approx(5.0, abs=0.01)
    assert moment.reason.score == pytest.approx(1 - 3.0 / (2 * 5.0), abs=0.01)
    assert at(5.0) < moment.recorded_ns < at(7.1)


def test_gentle_driving_is_no_moment():
    assert moments(10, speed=braking(2.5)) == []
    assert moments(10, speed=lambda now: 3 * now) == []  # speeding up is not braking
    assert moments(10, speed=lambda now: 10 + 0.3 * math.sin(40 * now)) == []  # noise


def test_braking_in_reverse_is_braking():
    (moment,) = moments(10, speed=lambda now: -braking(5.0)(now))
    assert "braked" in moment.reason.text


def test_cornering_is_speed_times_yaw_rate():
    (moment,) = moments(8, speed=lambda now: 8.0, yaw_rate=lambda now: 0.5 * (3 < now < 4))
    assert moment.reason.text == "cornered hard: 4.0 m/s² (/odom)"
    # On the spot a robot may turn as fast as it likes.
    assert moments(8, speed=lambda now: 0.0, yaw_rate=lambda now: 2.0 * (3 < now < 4)) == []


def test_an_accelerometer_is_heard_without_gravity():
    tilted = 9.81 * math.sin(0.1)
    assert moments(20, ahead=lambda now: tilted, left=lambda now: -tilted) == []
    (moment,) = moments(20, ahead=lambda now: tilted - 6.0 * (12 < now < 13))
    assert "braked hard" in moment.reason.text
    assert at(12) < moment.recorded_ns < at(13.1)


def test_steering_that_jumps_is_a_moment():
    (moment,) = moments(8, steering=lambda now: 0.6 if now > 4 else -0.2)
    assert "steered quickly" in moment.reason.text


def test_nothing_is_derived_across_a_pause():
    before = list(samples(3, speed=lambda now: 10.0))
    after = [MotionSample("/odom", at(6 + i / HZ), speed=0.0) for i in range(100)]
    assert list(hard_moments([*before, *after], MotionLimits())) == []


def test_events_apart_are_moments_of_their_own():
    found = moments(20, speed=lambda now: 8.0, yaw_rate=lambda now: 0.5 * (now % 6 < 0.6))
    assert len(found) == 4


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_limits_must_be_positive(value):
    with pytest.raises(InvalidRequest, match=r"yaw_rate is .*; it must be greater than 0"):
        MotionLimits(yaw_rate=value)


DRIVE = (
    "float32 steering_angle\nfloat32 steering_angle_velocity\nfloat32 speed\n"
    "float32 acceleration\nfloat32 jerk\n"
)
ACKERMANN = {
    "ackermann_msgs/msg/AckermannDrive": DRIVE,
    "ackermann_msgs/msg/AckermannDriveStamped": (
        f"std_msgs/Header header\nackermann_msgs/AckermannDrive drive\n{'=' * 80}\n"
        f"MSG: ackermann_msgs/AckermannDrive\n{DRIVE}"
    ),
}
STORE = typestore_with(ACKERMANN)


def ackermann(speed, steering):
    drive = STORE.types["ackermann_msgs/msg/AckermannDrive"](
        steering_angle=steering,
        steering_angle_velocity=0.0,
        speed=speed,
        acceleration=0.0,
        jerk=0.0,
    )
    return STORE.types["ackermann_msgs/msg/AckermannDriveStamped"](header=header(), drive=drive)


MESSAGES = {
    "/odom": ("nav_msgs/msg/Odometry", odometry(3.0, 0.5), {"speed": 3.0, "yaw_rate": 0.5}),
    "/cmd_vel": ("geometry_msgs/msg/Twist", twist(2.0, -0.5), {"speed": 2.0, "yaw_rate": -0.5}),
    "/twist": (
        "geometry_msgs/msg/TwistStamped",
        stamped_twist(1.0, 0.25),
        {"speed": 1.0, "yaw_rate": 0.25},
    ),
    "/imu": (
        "sensor_msgs/msg/Imu", imu(-4.0, 2.0, 0.5), {"ahead": -4.0, "left": 2.0, "yaw_rate": 0.5},
    ),
    "/imu_gyro": ("sensor_msgs/msg/Imu", imu(-4.0, 2.0, 0.5, False), {"yaw_rate": 0.5}),
    "/drive": (
        "ackermann_msgs/msg/AckermannDriveStamped",
        ackermann(5.0, 0.25),
        {"speed": 5.0, "steering": 0.25},
    ),
}  # fmt: skip


@pytest.fixture(params=["mcap", "sqlite3"])
def bag(tmp_path, request):
    """One message of every type that is heard, and some that are not."""
    with BagWriter(tmp_path / "bag", request.param) as writer:
        for topic, (kind, message, _) in MESSAGES.items():
            writer.add_topic(topic, kind, ACKERMANN.get(kind, ""))
            writer.write(topic, kind, START_NS, serialize(message, kind, STORE))
        for topic, value in (("/user/angle", 0.5), ("/speed", 7.0), ("/battery", 12.0)):
            writer.write(topic, "std_msgs/msg/Float32", START_NS, serialize_float32(value))
    return open_recording(tmp_path / "bag")


def test_every_type_is_read_by_its_fields(bag):
    skipped = []
    found = list(motion_samples(bag, START_NS, END_NS, skipped.append, steering_scale=0.4))
    expected = [
        MotionSample(topic, START_NS, **values) for topic, (_, _, values) in MESSAGES.items()
    ]
    expected += [
        MotionSample("/user/angle", START_NS, steering=0.2),
        MotionSample("/speed", START_NS, speed=7.0),
    ]
    assert sorted(found, key=lambda s: s.topic) == sorted(expected, key=lambda s: s.topic)
    assert skipped == []
    assert "/battery" not in motion_topics(bag)


def test_messages_that_cannot_be_read_are_told_and_skipped(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(200):
            speed = braking(6.0, start=1.0)(index / HZ)
            data = serialize_float32(math.nan if index == 10 else speed)
            data = data[:6] if index == 20 else data
            writer.write("/speed", "std_msgs/msg/Float32", at(index / HZ), data)
    recording = open_recording(tmp_path / "bag")
    skipped = []
    (moment,) = HardMotion(MotionLimits(), skipped=skipped.append).listen(
        recording, recording.start_ns, recording.end_ns
    )
    assert "braked hard: 6.0" in moment.reason.text
    assert len(skipped) == 1
    assert "/speed at" in skipped[0]


def test_messages_of_a_second_type_on_a_topic_are_left_out(tmp_path):
    """As two publishers that disagree about a topic's type leave it in a recording."""
    store = standard_types()
    text = serialize(store.types["std_msgs/msg/String"]("fast"), "std_msgs/msg/String")
    with Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        number = writer.add_connection("/speed", "std_msgs/msg/Float32", typestore=store)
        other = writer.add_connection("/speed", "std_msgs/msg/String", typestore=store)
        for index in range(3):
            writer.write(number, at(index), serialize_float32(index))
            writer.write(other, at(index) + 1, text)
    (file,) = (tmp_path / "bag").glob("*.mcap")
    skipped = []
    found = motion_samples(open_recording(file), START_NS, END_NS, skipped.append)
    assert [sample.speed for sample in found] == [0.0, 1.0, 2.0]
    assert skipped == []


def test_slices_find_the_same_as_the_whole(tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(2000):
            now = index / HZ
            speed = 10 + (braking(6.0, start=2.0)(now % 8) - 10)
            data = serialize_float32(speed)
            writer.write("/speed", "std_msgs/msg/Float32", at(now), data)
    recording = open_recording(tmp_path / "bag")
    miner = HardMotion(MotionLimits())

    def found(start, end):
        return [moment.recorded_ns for moment in miner.listen(recording, start, end)]

    whole = found(recording.start_ns, recording.end_ns)
    assert len(whole) == 5
    cut = at(18.9)  # in the middle of a stop
    assert found(recording.start_ns, cut) + found(cut + 1, recording.end_ns) == whole
