# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila play` publishes a recording over DDS as it was recorded."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float32, String

from test.perception.messages import png, scene
from test.ros.robot import ROOT, TIMEOUT
from vila_ros.bags.drive_recording import CAMERA_TOPIC, SPEED_TOPIC, START_NS, TRUTH_TOPIC
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize, standard_types, typestore_with
from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.bags.writer import BagWriter
from vila_ros.nodes.player import Player as RecordingPlayer
from vila_ros.nodes.player import PlayOptions

RELIABLE = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Two drawn seconds: 20 messages on each of three topics."""
    path = tmp_path_factory.mktemp("recording") / "drive"
    write_drive(path, seconds=2.0)
    return path


class Player:
    """`vila play` as a process."""

    def __init__(self, robot, *arguments):
        self.robot = robot
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vila_ros.cli.main", "play", *map(str, arguments)],
            cwd=ROOT,
            env=robot.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, number=None):
        """Exit status and output, when it has ended by itself or by a signal."""
        if number is not None:
            self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, output


@pytest.fixture
def play(robot):
    """Start players; what still runs at the end is killed."""
    players = []

    def start(*arguments):
        players.append(Player(robot, *arguments))
        return players[-1]

    yield start
    for player in players:
        player.process.kill()
        player.process.communicate()


@pytest.fixture
def listen(robot):
    """Collect a topic's messages, serialized unless raw is False."""
    subscriptions = []

    def start(kind, topic, quality=RELIABLE, raw=True):
        received = []
        subscriptions.append(
            robot.node.create_subscription(kind, topic, received.append, quality, raw=raw)
        )
        return received

    yield start
    for subscription in subscriptions:
        robot.node.destroy_subscription(subscription)


def padded(data):
    """A message as DDS delivers it: filled up to a multiple of four bytes."""
    return data + bytes(-len(data) % 4)


def stamps(clocks):
    return [clock.clock.sec * 10**9 + clock.clock.nanosec for clock in clocks]


def test_every_message_arrives_as_it_was_recorded(robot, drive, play, listen):
    speeds = listen(Float32, SPEED_TOPIC)
    truths = listen(String, TRUTH_TOPIC)
    images = listen(CompressedImage, CAMERA_TOPIC)
    best_effort = listen(CompressedImage, CAMERA_TOPIC, qos_profile_sensor_data)
    player = play(drive, "--wait", 20, "--rate", 2)
    robot.wait_for(lambda: len(speeds) == len(truths) == len(images) == 20, "all messages")
    assert player.end()[0] == 0
    recording = open_recording(drive)
    for topic, received in ((SPEED_TOPIC, speeds), (TRUTH_TOPIC, truths), (CAMERA_TOPIC, images)):
        assert received == [padded(message.data) for message in recording.messages([topic])]
    # Best effort may lose, not change or invent.
    assert best_effort
    assert set(best_effort) <= set(images)


def test_the_clock_runs_with_the_recording(robot, drive, play, listen):
    clocks = listen(Clock, "/clock", raw=False)
    images = listen(CompressedImage, CAMERA_TOPIC, raw=False)
    player = play(drive, "--wait", 20, "--clock", 50)
    robot.wait_for(lambda: len(images) == 20, "all images")
    assert player.end()[0] == 0
    times = stamps(clocks)
    assert times == sorted(times)
    assert times[0] >= START_NS
    assert times[-1] <= START_NS + 2 * 10**9
    # Between images, 0.1 s apart, as well; how many a busy machine leaves out.
    assert len({time // 10**8 for time in times}) > 10
    assert len(times) > 20


def test_start_duration_topics_and_other_names(robot, drive, play, listen):
    images = listen(CompressedImage, "/other/compressed", raw=False)
    speeds = listen(Float32, SPEED_TOPIC)
    player = play(
        drive, "--wait", 20, "--start", 0.5, "--duration", 0.4, "--topics", CAMERA_TOPIC,
        "--remap", f"{CAMERA_TOPIC}:=/other/compressed",
    )  # fmt: skip
    status, output = player.end()
    robot.wait_for(lambda: len(images) == 5, "five images")
    first = images[0].header.stamp
    assert first.sec * 10**9 + first.nanosec == START_NS + 500_000_000
    assert speeds == []
    assert status == 0
    assert "as /other/compressed" in output
    assert "Played 5 messages." in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_repeats_the_stamps_until_it_is_interrupted(robot, drive, play, listen, number):
    images = listen(CompressedImage, CAMERA_TOPIC)
    player = play(drive, "--wait", 20, "--loop", "--duration", 0.3, "--topics", CAMERA_TOPIC)
    robot.wait_for(lambda: len(images) >= 10, "two rounds and a half")
    status, output = player.end(number)
    assert images[:4] == images[4:8]
    assert len(set(images)) == 4
    assert status == 0
    assert "Interrupted after" in output
    assert "Traceback" not in output


class UntilItWaits(threading.Event):
    """Set by the first wait."""

    def wait(self, timeout=None):
        self.set()
        return True


@pytest.fixture
def one_image(tmp_path):
    (tmp_path / "image.png").write_bytes(png(scene()))
    return tmp_path


@pytest.mark.parametrize(
    ("recording", "options", "messages"),
    [
        ("one_image", {}, 1),
        ("drive", {"start": 1.81, "duration": 0.02}, 0),
        ("drive", {"start": 1.81, "duration": 0.02, "rate": 0.0}, 0),
    ],
)
def test_a_round_of_a_loop_that_has_next_to_nothing_to_play_waits(
    robot, request, recording, options, messages
):
    node = rclpy.create_node("player", context=robot.context)
    rounds, stop = [], UntilItWaits()

    def on_status(status):
        rounds.append(status.round)
        if status.round > 5:
            stop.set()

    try:
        played = open_recording(request.getfixturevalue(recording))
        player = RecordingPlayer(node, played, PlayOptions(loop=True, **options))
        assert player.play(stop, on_status) == messages
    finally:
        node.destroy_node()
    assert set(rounds) == {0}


def test_a_late_subscriber_gets_what_was_latched(robot, tmp_path, play, listen):
    string = standard_types().types["std_msgs/msg/String"]
    text = serialize(string("the map's name"), "std_msgs/msg/String")
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/map_name", "std_msgs/msg/String", latched=True)
        for second in range(60):
            writer.write("/tick", "std_msgs/msg/String", second * 10**9, text)
        writer.write("/map_name", "std_msgs/msg/String", 0, text)
    ticks = listen(String, "/tick")
    play(tmp_path / "bag", "--wait", 20)
    robot.wait_for(lambda: ticks, "playing has begun")
    late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    names = listen(String, "/map_name", late)
    robot.wait_for(lambda: names, "the latched message")
    assert names == [padded(text)]


def test_types_that_are_not_installed_are_skipped_and_named(robot, tmp_path, play, listen):
    definition = "float64 angle\n"
    store = typestore_with({"robot_arm_msgs/msg/Joint": definition})
    joint = store.types["robot_arm_msgs/msg/Joint"](0.5)
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/joint", "robot_arm_msgs/msg/Joint", definition)
        data = serialize(joint, "robot_arm_msgs/msg/Joint", store)
        writer.write("/joint", "robot_arm_msgs/msg/Joint", 10**9, data)
        speed = serialize(
            standard_types().types["std_msgs/msg/Float32"](1.0), "std_msgs/msg/Float32"
        )
        writer.write("/speed", "std_msgs/msg/Float32", 10**9, speed)
    speeds = listen(Float32, "/speed")
    status, output = play(tmp_path / "bag", "--wait", 20).end()
    robot.wait_for(lambda: speeds, "the known type")
    assert status == 0
    assert "skipped: robot_arm_msgs/msg/Joint is not installed" in output
    status, output = play(tmp_path / "bag", "--topics", "/joint").end()
    assert status == 1
    assert "has nothing to play. /joint: robot_arm_msgs/msg/Joint is not installed" in output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rate", -1], "rate is -1.0; it must be from 0 to 1000."),
        (["--rate", "nan"], "rate is nan"),
        (["--start", 3], "start is 3 s, the recording is 1.900 s long."),
        (["--topics", "/nothing"], "has no topic '/nothing'; it has /front/image_raw/compressed"),
        (["--remap", "/a"], "--remap /a: write OLD:=NEW"),
        (["--remap", f"{SPEED_TOPIC}:=/no spaces"], "'/no spaces' is no topic name"),
    ],
)
def test_what_makes_no_sense_is_refused(drive, play, arguments, says):
    status, output = play(drive, *arguments).end()
    assert status == 1
    assert says in output
    assert "Traceback" not in output


def test_what_is_no_recording_is_refused(tmp_path, play):
    status, output = play(tmp_path / "nothing").end()
    assert (status, "nothing' does not exist" in output) == (1, True)
