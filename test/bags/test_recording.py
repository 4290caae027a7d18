# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole recording gives every message back in time order, whatever it was recorded with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rosbags.rosbag2 import CompressionMode

from test.bags.conftest import CAMERA, FLOAT32, SPEED, START_NS, drive, record, storage_file
from vila_ros.bags.compressed_image import COMPRESSED_IMAGE
from vila_ros.bags.recording import open_recording
from vila_ros.errors import ErrorCode, InvalidRecording, InvalidRequest

STORAGES = ("mcap", "sqlite3")
COMPRESSIONS = [
    ("mcap", CompressionMode.NONE),
    ("mcap", CompressionMode.STORAGE),
    ("mcap", CompressionMode.MESSAGE),
    ("mcap", CompressionMode.FILE),
    ("sqlite3", CompressionMode.NONE),
    ("sqlite3", CompressionMode.MESSAGE),
    ("sqlite3", CompressionMode.FILE),
]


@pytest.mark.parametrize(("storage", "compression"), COMPRESSIONS)
def test_gives_back_what_was_recorded(bag, storage, compression):
    messages = drive()
    recording = open_recording(bag(messages, storage=storage, compression=compression))
    assert list(recording.messages()) == messages
    assert (recording.start_ns, recording.end_ns) == (START_NS, messages[-1].stamp_ns)
    assert {name: (topic.type, topic.count) for name, topic in recording.topics.items()} == {
        CAMERA: (COMPRESSED_IMAGE, 40),
        SPEED: (FLOAT32, 80),
    }
    assert "float32 data" in recording.definition(FLOAT32)
    assert recording.warnings == []


@pytest.mark.parametrize(("storage", "compression"), COMPRESSIONS)
def test_a_storage_file_alone_is_a_recording(bag, tmp_path, storage, compression):
    messages = drive()
    lone = storage_file(bag(messages, storage=storage, compression=compression))
    lone = lone.rename(tmp_path / f"alone # 100%{''.join(lone.suffixes)}")
    recording = open_recording(lone)
    assert list(recording.messages()) == messages
    assert recording.topics[SPEED].count == 80
    assert recording.warnings == []


@pytest.mark.parametrize(("storage", "compression"), COMPRESSIONS)
def test_a_time_range_includes_both_ends(bag, storage, compression):
    messages = drive()
    recording = open_recording(bag(messages, storage=storage, compression=compression))
    start, end = messages[30].stamp_ns, messages[60].stamp_ns
    assert list(recording.messages(start_ns=start, end_ns=end)) == messages[30:61]
    assert list(recording.messages(start_ns=end + 1)) == messages[61:]
    assert list(recording.messages(end_ns=start - 1)) == messages[:30]
    assert list(recording.messages(end_ns=START_NS - 1)) == []


@pytest.mark.parametrize("storage", STORAGES)
def test_topics_can_be_chosen_and_must_exist(bag, storage):
    messages = drive()
    recording = open_recording(bag(messages, storage=storage))
    speeds = [message for message in messages if message.topic == SPEED]
    assert list(recording.messages([SPEED])) == speeds
    with pytest.raises(InvalidRequest, match=r"no topic '/sped'; it has /front.*, /speed"):
        recording.messages(["/sped"])


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_written_out_of_order_are_read_in_order(bag, storage):
    messages = drive(frames=200, side=64)  # several chunks
    late = messages[:5] + messages[400:] + messages[5:400]
    assert list(open_recording(bag(late, storage=storage)).messages()) == messages


@pytest.mark.parametrize("storage", STORAGES)
def test_a_seek_reads_only_what_it_needs(bag, storage):
    """A range at the end of a recording does not touch the damaged bytes before it."""
    messages = drive(frames=400, side=64)
    folder = bag(messages, storage=storage)
    file = storage_file(folder)
    content = bytearray(file.read_bytes())
    assert len(content) > 2_000_000
    recording = open_recording(folder)
    content[200_000:800_000] = bytes(600_000)
    file.write_bytes(content)
    assert list(recording.messages(start_ns=messages[-60].stamp_ns)) == messages[-60:]


@pytest.mark.parametrize("storage", STORAGES)
def test_iterators_run_side_by_side(bag, storage):
    messages = drive()
    recording = open_recording(bag(messages, storage=storage))
    pairs = list(zip(recording.messages(), recording.messages(), strict=True))
    assert pairs == list(zip(messages, messages, strict=True))


def split(folder: Path, parts: list[list], storage: str, compression: CompressionMode) -> Path:
    """A recording in several files, as `ros2 bag record --max-bag-size` leaves it."""
    folder.mkdir()
    merged: dict = {}
    for number, messages in enumerate(parts):
        part = record(folder / f"part_{number}", messages, storage, compression)
        info = yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        file = storage_file(part)
        name = f"bag_{number}{''.join(file.suffixes)}"
        file.rename(folder / name)
        (part / "metadata.yaml").unlink()
        part.rmdir()
        if not merged:
            merged = info | {"relative_file_paths": [], "files": []}
            topics: dict[str, dict] = {}
        merged["relative_file_paths"].append(name)
        about = info["files"][0] | {"path": name}
        if not messages:  # as rosbag2 writes it
            about["starting_time"] = {"nanoseconds_since_epoch": 2**63 - 1}
            about["duration"] = {"nanoseconds": 0}
        merged["files"].append(about)
        for topic in info["topics_with_message_count"]:
            known = topics.setdefault(topic["topic_metadata"]["name"], topic | {"message_count": 0})
            known["message_count"] += topic["message_count"]
    merged["topics_with_message_count"] = list(topics.values())
    text = yaml.safe_dump({"rosbag2_bagfile_information": merged})
    (folder / "metadata.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(("storage", "compression"), COMPRESSIONS)
def test_split_files_are_one_recording(tmp_path, storage, compression):
    messages = drive(frames=33)
    # The second part begins before the first ends, as recorders with several threads leave it.
    parts = [messages[:50], [*messages[52:70], *messages[50:52]], messages[70:]]
    recording = open_recording(split(tmp_path / "bag", parts, storage, compression))
    assert list(recording.messages()) == messages
    assert recording.topics[CAMERA].count == 33
    assert list(recording.messages(start_ns=messages[80].stamp_ns)) == messages[80:]
    assert recording.warnings == []


@pytest.mark.parametrize(("storage", "compression"), COMPRESSIONS)
@pytest.mark.parametrize("empty", [0, 1])
def test_a_part_without_messages_has_no_time(tmp_path, storage, compression, empty):
    messages = drive(frames=3)
    parts = [messages, messages]
    parts[empty] = []
    recording = open_recording(split(tmp_path / "bag", parts, storage, compression))
    assert (recording.start_ns, recording.end_ns) == (START_NS, messages[-1].stamp_ns)
    assert list(recording.messages()) == messages
    assert recording.topics[CAMERA].count == 3
    assert recording.warnings == []


@pytest.mark.parametrize("storage", STORAGES)
def test_parts_outside_of_the_time_range_are_not_unpacked(tmp_path, storage):
    messages = drive(frames=20)
    parts = [messages[:30], messages[30:]]
    folder = split(tmp_path / "bag", parts, storage, CompressionMode.FILE)
    next(folder.glob("bag_0*")).write_bytes(b"damaged")
    recording = open_recording(folder)
    assert list(recording.messages(start_ns=messages[30].stamp_ns)) == messages[30:]
    assert recording.warnings == []


@pytest.mark.parametrize("storage", STORAGES)
def test_a_missing_part_is_named_and_the_others_are_read(tmp_path, storage):
    messages = drive(frames=30)
    folder = split(
        tmp_path / "bag",
        [messages[:30], messages[30:60], messages[60:]],
        storage,
        CompressionMode.NONE,
    )
    next(folder.glob("bag_1*")).unlink()
    recording = open_recording(folder)
    assert list(recording.messages()) == messages[:30] + messages[60:]
    assert recording.topics[CAMERA].count == 20
    (warning,) = recording.warnings
    assert "bag_1" in warning
    assert "does not exist" in warning


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        (None, "is missing, so the recorder did not end"),
        ("{: no yaml", "no YAML"),
        ("rosbag2_bagfile_information: {version: 77}", "version 77, known are 1 to 9"),
        ("rosbag2_bagfile_information: {version: 5}", "lacks 'relative_file_paths'"),
        ("[]", "wrong type"),
    ],
)
def test_without_usable_metadata_the_files_are_read_and_it_is_said(bag, storage, metadata, why):
    messages = drive()
    folder = bag(messages, storage=storage)
    (folder / "metadata.yaml").unlink()
    if metadata is not None:
        (folder / "metadata.yaml").write_text(metadata)
    recording = open_recording(folder)
    assert list(recording.messages()) == messages
    (warning,) = recording.warnings
    assert why in warning


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recording_without_messages(bag, storage):
    recording = open_recording(bag([], storage=storage))
    assert list(recording.messages()) == []
    assert (dict(recording.topics), recording.start_ns, recording.end_ns) == ({}, 0, 0)


def test_latched_topics_are_known(tmp_path):
    from vila_ros.bags.writer import BagWriter

    for storage in STORAGES:
        with BagWriter(tmp_path / storage, storage) as writer:
            writer.add_topic("/map_name", "std_msgs/msg/String", latched=True)
            writer.write(SPEED, FLOAT32, START_NS, drive(1)[1].data)
        for path in (tmp_path / storage, storage_file(tmp_path / storage)):
            topics = open_recording(path).topics
            assert (topics["/map_name"].latched, topics[SPEED].latched) == (True, False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere", None, r"'.*nowhere' does not exist"),
        ("empty.mcap", b"", r"'empty.mcap' is empty \(0 bytes\)"),
        ("empty.db3", b"", r"'empty.db3' is empty \(0 bytes\)"),
        ("text.mcap", b"hello world", r"'text.mcap' is no MCAP file: it begins with b'hello wo'"),
        ("text.db3", b"hello world" * 20, r"'text.db3' is no SQLite file"),
        ("text.mcap.zstd", b"hello world", r"cannot be read: its zstd stream is damaged"),
        ("old.bag", b"#ROSBAG V2.0", r"recording of ROS 1; convert it: rosbags-convert"),
        ("notes.txt", b"hello", r"is no recording: rosbag2 folders"),
        ("text.mp4", b"hello", r"is no video that can be read"),
        ("text.tar.gz", b"hello", r"no tar archive|contains no manifest.json"),
    ],
)
def test_what_is_no_recording_is_refused_with_a_reason(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRecording, match=message) as refused:
        open_recording(path)
    assert refused.value.code == ErrorCode.INVALID_REQUEST


def test_an_empty_folder_and_another_database_are_refused(tmp_path):
    import sqlite3

    (tmp_path / "nothing").mkdir()
    with pytest.raises(InvalidRecording, match="neither a recording"):
        open_recording(tmp_path / "nothing")
    database = sqlite3.connect(tmp_path / "other.db3")
    database.execute("CREATE TABLE messages (id INTEGER)")
    database.close()
    with pytest.raises(InvalidRecording, match="lacks the tables 'topics' and 'messages'"):
        open_recording(tmp_path / "other.db3")


_READ_ALL = """
import resource, sys
from vila_ros.bags.recording import open_recording
recording = open_recording(sys.argv[1])
def grown(before=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss):
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
total = sum(len(message.data) for message in recording.messages())
print(total, grown() // 1024)
"""


@pytest.mark.parametrize(
    ("storage", "compression"),
    [(s, c) for s, c in COMPRESSIONS if c in (CompressionMode.NONE, CompressionMode.FILE)],
)
def test_reading_a_long_recording_takes_little_memory(bag, storage, compression):
    """100 MB pass through a process that grows by less than a tenth of it."""
    from vila_ros.bags.types import RecordedMessage

    image = bytes(range(256)) * 4000
    messages = (
        RecordedMessage("/raw", "sensor_msgs/msg/CompressedImage", START_NS + i, image)
        for i in range(100)
    )
    folder = bag(messages, storage=storage, compression=compression)
    command = [sys.executable, "-c", _READ_ALL, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    total, grown_mib = map(int, run.stdout.split())
    assert total == 100 * len(image)
    assert grown_mib < 10
