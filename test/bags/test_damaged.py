# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording that was cut off or damaged is read as far as it goes, and says how far."""

from __future__ import annotations

import re
import sqlite3

import pytest
from rosbags.rosbag2 import CompressionMode

from test.bags.conftest import CAMERA, SPEED, START_NS, McapByHand, drive, storage_file
from vila_ros.bags.mcap_records import Opcode, records
from vila_ros.bags.recording import open_recording
from vila_ros.errors import InvalidRecording

FRACTIONS = (0.02, 0.2, 0.4, 0.5, 0.77, 0.9, 0.97, 0.999)


def cut(file, fraction):
    """Keep the first part of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * fraction)])


def is_in_order(part, whole):
    """Whether all of part is in whole, in its order: a short message may outlive a long one."""
    rest = iter(whole)
    return all(any(message == other for other in rest) for message in part)


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE])
@pytest.mark.parametrize("alone", [True, False])
def test_a_cut_mcap_file_gives_every_message_before_the_cut(bag, compression, fraction, alone):
    messages = drive(frames=300, side=64)
    folder = bag(messages, compression=compression)
    file = storage_file(folder)
    cut(file, fraction)
    recording = open_recording(file if alone else folder)
    read = list(recording.messages())
    assert read == messages[: len(read)]
    # Little is lost but what was cut; zstd gives back whole blocks of 128 KiB, some 250 messages.
    slack = 260 if compression == CompressionMode.STORAGE else 12
    assert len(read) >= int(len(messages) * fraction) - slack
    assert sum(topic.count for topic in recording.topics.values()) == len(read)
    (warning,) = recording.warnings
    assert "its end is missing" in warning
    if not read:
        return
    seconds = (read[-1].stamp_ns - read[0].stamp_ns) / 1e9
    assert f"{len(read)} messages of {seconds:.3f} s can be read, up to byte" in warning
    assert recording.end_ns == read[-1].stamp_ns
    middle = len(read) // 2
    assert list(recording.messages(start_ns=read[middle].stamp_ns)) == read[middle:]


@pytest.mark.parametrize("cut_bytes", range(1, 60, 7))
def test_an_mcap_file_that_lost_its_last_bytes_is_read_whole(bag, cut_bytes):
    messages = drive()
    file = storage_file(bag(messages))
    file.write_bytes(file.read_bytes()[:-cut_bytes])
    recording = open_recording(file)
    assert list(recording.messages()) == messages
    assert len(recording.warnings) == 1


@pytest.mark.parametrize("length", [8, 9, 20, 60])
def test_an_mcap_file_cut_before_its_first_message_is_empty(bag, length):
    file = storage_file(bag(drive()))
    file.write_bytes(file.read_bytes()[:length])
    recording = open_recording(file)
    assert list(recording.messages()) == []
    assert "0 messages" in recording.warnings[0]


@pytest.mark.parametrize("fraction", FRACTIONS)
@pytest.mark.parametrize("alone", [True, False])
def test_a_cut_sqlite_file_gives_the_messages_that_are_there(bag, fraction, alone):
    messages = drive(frames=300, side=64)
    folder = bag(messages, storage="sqlite3")
    file = storage_file(folder)
    cut(file, fraction)
    recording = open_recording(file if alone else folder)
    read = list(recording.messages())
    assert is_in_order(read, messages)
    assert len(read) >= int(len(messages) * fraction) - 40
    assert sum(topic.count for topic in recording.topics.values()) == len(read)
    (warning,) = recording.warnings
    assert re.search(
        rf"its end is missing; {len(read)} messages of \d+\.\d+ s can be read", warning
    )
    if read:
        half = read[len(read) // 2 :]
        assert list(recording.messages(start_ns=half[0].stamp_ns)) == half


@pytest.mark.parametrize("length", [100, 4096, 10_000])
def test_a_sqlite_file_without_its_tables_is_refused(bag, length):
    file = storage_file(bag(drive(), storage="sqlite3"))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InvalidRecording, match="no recording of rosbag2"):
        open_recording(file)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_a_cut_compressed_file_is_read_as_far_as_it_unpacks(bag, storage, fraction):
    messages = drive(frames=300, side=64)
    folder = bag(messages, storage=storage, compression=CompressionMode.FILE)
    cut(storage_file(folder), fraction)
    recording = open_recording(folder)
    read = list(recording.messages())
    assert is_in_order(read, messages)
    assert len(read) > len(messages) * (fraction - 0.2)
    assert any("its zstd stream ends early" in warning for warning in recording.warnings)
    assert any("its end is missing" in warning for warning in recording.warnings)


def test_a_damaged_chunk_is_skipped_and_named(bag):
    messages = drive(frames=900, side=64)
    file = storage_file(bag(messages, compression=CompressionMode.STORAGE))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 5000] = bytes(5000)
    file.write_bytes(content)
    recording = open_recording(file)
    read = list(recording.messages())
    assert 0 < len(read) < len(messages)
    assert set(read) <= set(messages)
    assert (read[0], read[-1]) == (messages[0], messages[-1])
    (warning,) = recording.warnings
    assert re.search(r"the chunk at byte \d+ is skipped", warning)


def test_a_file_that_is_no_mcap_after_a_while_is_read_up_to_there(bag):
    messages = drive(frames=300, side=64)
    file = storage_file(bag(messages))
    content = file.read_bytes()
    file.write_bytes(content[:1_200_000] + b"\xfe" * 4096)
    read = list(open_recording(file).messages())
    assert len(read) > 600
    # The message into which the other bytes fell cannot be told from a whole one.
    assert read[:-1] == messages[: len(read) - 1]


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_chunks_without_any_index_are_scanned(tmp_path, compression):
    messages = drive(frames=30)
    hand = McapByHand()
    hand.data += hand.chunk(
        hand.announce(1, CAMERA, messages[0].type)
        + hand.announce(2, SPEED, messages[1].type)
        + b"".join(
            hand.message(1 if m.topic == CAMERA else 2, m.stamp_ns, m.data) for m in messages[:40]
        ),
        messages[0].stamp_ns,
        messages[39].stamp_ns,
        compression,
    )
    hand.data += hand.chunk(
        b"".join(
            hand.message(1 if m.topic == CAMERA else 2, m.stamp_ns, m.data) for m in messages[40:]
        ),
        messages[40].stamp_ns,
        messages[-1].stamp_ns,
        compression,
    )
    file = tmp_path / "scanned.mcap"
    file.write_bytes(hand.ended())
    recording = open_recording(file)
    assert list(recording.messages()) == messages
    assert recording.topics[SPEED].count == 60
    assert recording.definition(messages[0].type) == f"# {messages[0].type}"
    assert "it has no index and was scanned; 90 messages" in recording.warnings[0]
    file.write_bytes(hand.data[:-200])
    read = list(open_recording(file).messages())
    assert read == messages[: len(read)]
    # A block of zstd or lz4 is longer than this chunk, so that nothing of it unpacks.
    assert len(read) == 40 if compression else len(read) > 80


def test_messages_outside_of_chunks_are_sorted_whatever_their_order(tmp_path):
    messages = drive(frames=30)
    hand = McapByHand()
    hand.data += hand.announce(1, CAMERA, messages[0].type)
    hand.data += hand.announce(2, SPEED, messages[1].type)
    for m in messages[::-1]:
        hand.data += hand.message(1 if m.topic == CAMERA else 2, m.stamp_ns, m.data)
    file = tmp_path / "loose.mcap"
    file.write_bytes(hand.ended())
    assert list(open_recording(file).messages()) == messages
    file.write_bytes(hand.data[:-5])
    assert list(open_recording(file).messages()) == messages[1:]


def test_topics_that_are_not_ros_2_are_left_out_and_named(tmp_path):
    messages = drive(frames=2)
    hand = McapByHand()
    hand.data += hand.announce(1, CAMERA, messages[0].type)
    hand.data += hand.announce(2, "/json", "Thing", encoding="json")
    hand.data += hand.message(1, START_NS, messages[0].data) + hand.message(2, START_NS + 1, b"{}")
    file = tmp_path / "mixed.mcap"
    file.write_bytes(hand.ended())
    recording = open_recording(file)
    assert list(recording.messages()) == messages[:1]
    assert set(recording.topics) == {CAMERA}
    assert any("/json is left out" in warning for warning in recording.warnings)


def test_a_chunk_whose_checksum_differs_is_left_out(tmp_path):
    messages = drive(frames=2)
    hand = McapByHand()
    hand.data += hand.announce(1, CAMERA, messages[0].type)
    for m in (messages[0], messages[3]):
        hand.data += hand.chunk(hand.message(1, m.stamp_ns, m.data), m.stamp_ns, m.stamp_ns)
    file = tmp_path / "flipped.mcap"
    content = bytearray(hand.ended())
    content[content.index(messages[0].data) + 500] ^= 1
    file.write_bytes(content)
    recording = open_recording(file)
    assert list(recording.messages()) == messages[3:4]
    assert "1 messages of 0.000 s" in recording.warnings[0]
    assert "without 1 damaged chunks" in recording.warnings[0]


def test_absurd_lengths_do_not_allocate(tmp_path):
    """A chunk that claims to unpack to 2**60 bytes, and a record that claims to be as long."""
    message = drive(frames=1)[0]
    hand = McapByHand()
    hand.data += hand.announce(1, CAMERA, message.type)
    record = hand.message(1, message.stamp_ns, message.data)
    chunk = bytearray(hand.chunk(record, message.stamp_ns, message.stamp_ns, "zstd"))
    chunk[9 + 16 : 9 + 24] = (1 << 60).to_bytes(8, "little")
    longer = b"\x05" + (1 << 60).to_bytes(8, "little") + b"x" * 100
    file = tmp_path / "absurd.mcap"
    file.write_bytes(hand.data + record + bytes(chunk) + longer)
    recording = open_recording(file)
    assert list(recording.messages()) == [message]
    assert "it is damaged at byte" in recording.warnings[0]
    assert "without 1 damaged chunks" in recording.warnings[0]


def test_a_file_cut_between_a_chunks_indexes_counts_every_message(bag):
    """Each topic has an index of its own behind the chunk; only the first is there."""
    messages = drive(frames=300, side=64)
    file = storage_file(bag(messages))
    content = file.read_bytes()
    ends = [end for opcode, _, end in records(content, start=8) if opcode == Opcode.MESSAGE_INDEX]
    assert len(ends) == 4
    file.write_bytes(content[: ends[2] + 4])
    recording = open_recording(file)
    assert list(recording.messages()) == messages
    assert {name: topic.count for name, topic in recording.topics.items()} == {
        CAMERA: 300,
        SPEED: 600,
    }


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_recorder_that_was_killed(bag, storage, tmp_path):
    """SQLite keeps the last messages in a write-ahead log until it is closed."""
    messages = drive()
    if storage == "mcap":
        folder = bag(messages)
        (folder / "metadata.yaml").unlink()
        cut(storage_file(folder), 0.9)
        assert len(list(open_recording(folder).messages())) > 90
        return
    whole = storage_file(bag(messages[:60], storage="sqlite3"))
    recorder = sqlite3.connect(whole)
    recorder.execute("PRAGMA journal_mode=WAL")
    recorder.executemany(
        "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
        [(1 if m.topic == CAMERA else 2, m.stamp_ns, m.data) for m in messages[60:]],
    )
    recorder.commit()
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal"):
        content = whole.with_name(whole.name + suffix).read_bytes()
        (killed / f"bag.db3{suffix}").write_bytes(content)
    recorder.close()
    recording = open_recording(killed)
    assert list(recording.messages()) == messages
    assert recording.topics[SPEED].count == 80


def test_a_sqlite_file_without_its_time_index_is_sorted(bag):
    messages = drive()
    file = storage_file(bag(messages[::-1], storage="sqlite3"))
    database = sqlite3.connect(file)
    database.execute("DROP INDEX timestamp_idx")
    database.close()
    recording = open_recording(file)
    assert list(recording.messages()) == messages
    assert recording.warnings == []
