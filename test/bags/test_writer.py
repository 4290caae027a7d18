# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A written recording is whole or not there."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from test.bags.conftest import SPEED, START_NS, drive
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize, serialize, standard_types, typestore_with
from vila_ros.bags.writer import BagWriter
from vila_ros.errors import InvalidRecording

STORAGES = ("mcap", "sqlite3")


def write(path, messages, storage="mcap"):
    with BagWriter(path, storage) as writer:
        for message in messages:
            writer.write(message.topic, message.type, message.stamp_ns, message.data)
    return path


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_written_is_read_by_others_and_by_us(tmp_path, storage):
    messages = drive()
    path = write(tmp_path / "out" / "drive", messages, storage)
    assert list(open_recording(path).messages()) == messages
    with Reader(path) as reader:
        read = [(c.topic, c.msgtype, stamp, bytes(data)) for c, stamp, data in reader.messages()]
    assert read == [(m.topic, m.type, m.stamp_ns, m.data) for m in messages]
    suffix = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    assert sorted(file.name for file in path.iterdir()) == [f"drive.{suffix}", "metadata.yaml"]
    assert [file.name for file in path.parent.iterdir()] == ["drive"]


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_of_any_type_come_back(tmp_path, storage):
    types = standard_types().types
    time = types["builtin_interfaces/msg/Time"]
    header = types["std_msgs/msg/Header"](time(12, 34), "lidar")
    scan = types["sensor_msgs/msg/LaserScan"](
        header, -1.0, 1.0, 0.5, 0.0, 0.1, 0.2, 30.0,
        np.array([1.5, np.inf], np.float32), np.array([], np.float32),
    )  # fmt: skip
    point = "float64 x\nstring[] names\nLeft left\n" + "=" * 80 + "\nMSG: robot/msg/Left\nbool on\n"
    store = typestore_with({"robot/msg/Point": point})
    left = store.types["robot/msg/Left"]
    own = store.types["robot/msg/Point"](2.5, ["a", "böse"], left(True))
    with BagWriter(tmp_path / "bag", storage) as writer:
        writer.write(
            "/scan", "sensor_msgs/msg/LaserScan", START_NS, serialize(scan, scan.__msgtype__)
        )
        writer.add_topic("/own", "robot/msg/Point", definition=point)
        writer.write(
            "/own", "robot/msg/Point", START_NS + 1, serialize(own, own.__msgtype__, store)
        )
    recording = open_recording(tmp_path / "bag")
    first, second = recording.messages()
    read = deserialize(first)
    assert (read.header, list(read.ranges), read.range_max) == (header, [1.5, np.inf], 30.0)
    kept = typestore_with({second.type: recording.definition(second.type)})
    read = deserialize(second, kept)
    assert (read.x, read.names, read.left.on) == (2.5, ["a", "böse"], True)
    with pytest.raises(InvalidRecording, match="robot/msg/Point is not known"):
        deserialize(second)


def test_a_type_without_definition_is_refused(tmp_path):
    with (
        pytest.raises(InvalidRecording, match="no standard type"),
        BagWriter(tmp_path / "b") as bag,
    ):
        bag.write("/own", "robot/msg/Point", START_NS, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_an_exception_leaves_nothing(tmp_path, storage):
    def messages():
        yield from drive()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "bag", messages(), storage)
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_never_replaced(tmp_path):
    path = write(tmp_path / "bag", drive(2))
    with pytest.raises(InvalidRecording, match="exists already; name another"):
        BagWriter(path)
    assert len(list(open_recording(path).messages())) == 6
    assert [file.name for file in tmp_path.iterdir()] == ["bag"]


def test_two_writers_of_one_name(tmp_path):
    with BagWriter(tmp_path / "bag") as first:
        with pytest.raises(InvalidRecording, match="Another process is writing"):
            BagWriter(tmp_path / "bag")
        message = drive(1)[0]
        first.write(message.topic, message.type, message.stamp_ns, message.data)
    assert list(open_recording(tmp_path / "bag").messages()) == [message]


def test_a_closed_writer_takes_nothing_more(tmp_path):
    writer = BagWriter(tmp_path / "bag")
    writer.close()
    writer.close()
    with pytest.raises(InvalidRecording, match="is closed"):
        writer.write(SPEED, "std_msgs/msg/Float32", 1, bytes(8))
    with pytest.raises(InvalidRecording, match="Unknown storage 'csv'"):
        BagWriter(tmp_path / "other", "csv")


_WRITE_FOREVER = """
import itertools, sys
from vila_ros.bags.writer import BagWriter
writer = BagWriter(sys.argv[1], sys.argv[2])
for i in itertools.count():
    writer.write("/raw", "sensor_msgs/msg/CompressedImage", i, bytes(100_000))
    if i == 50:
        print("writing", flush=True)
"""


@pytest.mark.parametrize("storage", STORAGES)
def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path, storage):
    path = tmp_path / "bag"
    command = [sys.executable, "-c", _WRITE_FOREVER, str(path), storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert [file.name for file in tmp_path.iterdir()] == ["bag.part"]
    # The next writer of that name cleans up and succeeds.
    write(path, drive(2), storage)
    assert [file.name for file in tmp_path.iterdir()] == ["bag"]
    assert len(list(open_recording(path).messages())) == 6


_WRITE_UNTIL_FULL = """
import sys
from vila_ros.bags.writer import BagWriter
from vila_ros.errors import InvalidRecording
try:
    with BagWriter(sys.argv[1], sys.argv[2]) as writer:
        for i in range(int(sys.argv[3])):
            writer.write("/raw", "sensor_msgs/msg/CompressedImage", i, bytes(100_000))
except InvalidRecording as error:
    print(error.message)
else:
    print("written")
"""


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("messages", [8, 60])
def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, storage, messages):
    """A limit on the size of files stands for the disk; it strikes while writing or at the end."""
    limit = 700_000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", _WRITE_UNTIL_FULL, str(tmp_path / "bag"), storage]
    run = subprocess.run(
        [*command, str(messages)], capture_output=True, text=True, preexec_fn=limited
    )
    assert "bag' cannot be written:" in run.stdout, run.stderr
    assert list(tmp_path.iterdir()) == []
