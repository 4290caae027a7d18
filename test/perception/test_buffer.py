# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a camera's buffer keeps, and what it drops and why."""

import gc
import logging
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.perception.messages import (
    SECOND,
    START,
    compressed_message,
    image_message,
    jpeg,
    plain,
    png,
    scene,
)
from vila_ros.errors import InvalidRequest
from vila_ros.perception.buffer import BufferLimits, FrameBuffer, held_bytes
from vila_ros.perception.types import DropReason, MessageKind

PICTURE = plain((1, 2, 3))
WIDE = BufferLimits(seconds=1000.0, frames=10_000, bytes=1 << 30)
MS = 1_000_000


def message(stamp_ns: int, picture: np.ndarray = PICTURE) -> bytes:
    return image_message(picture, stamp_ns=stamp_ns)


def camera(limits: BufferLimits = WIDE, kind: MessageKind = MessageKind.IMAGE) -> FrameBuffer:
    return FrameBuffer("front", kind, limits)


def stamps(buffer: FrameBuffer) -> list[int]:
    return [frame.stamp_ns for frame in buffer.window(0, 1 << 62)]


def fill(buffer: FrameBuffer, offsets_ms: list[int]) -> list[DropReason | None]:
    return [buffer.add(message(START + offset * MS), 0) for offset in offsets_ms]


def test_a_frame_is_kept_as_it_arrived():
    buffer, data = camera(), image_message(PICTURE, stamp_ns=START, frame_id="front_optical")
    assert buffer.add(data, START) is None
    frame = buffer.newest()
    assert frame is not None
    assert frame.data is data
    assert (frame.camera, frame.stamp_ns, frame.frame_id) == ("front", START, "front_optical")
    assert frame.kind is MessageKind.IMAGE


def test_a_view_is_copied_so_that_it_keeps_nothing_else_alive():
    buffer, data = camera(), message(START)
    assert buffer.add(memoryview(data + bytes(1000))[: len(data)], 0) is None
    frame = buffer.newest()
    assert frame is not None
    assert type(frame.data) is bytes
    assert frame.data == data


def test_a_window_has_both_its_ends():
    buffer = camera()
    fill(buffer, [0, 100, 200, 300])
    found = buffer.window(START + 100 * MS, START + 200 * MS)
    assert [frame.stamp_ns - START for frame in found] == [100 * MS, 200 * MS]
    assert buffer.window(START + 101 * MS, START + 199 * MS) == []
    assert camera().window(0, 1 << 62) == []
    assert camera().newest() is None


def test_frames_that_overtook_each_other_stand_in_the_order_of_their_stamps():
    buffer = camera()
    assert fill(buffer, [0, 300, 100, 200, 150]) == [None] * 5
    assert stamps(buffer) == [START + ms * MS for ms in (0, 100, 150, 200, 300)]
    assert buffer.newest().stamp_ns == START + 300 * MS
    assert buffer.statistics().resets == 0


def test_frames_older_than_the_seconds_make_room():
    buffer = camera(BufferLimits(seconds=1.0))
    fill(buffer, [0, 500, 1000, 1001])
    assert stamps(buffer) == [START + ms * MS for ms in (500, 1000, 1001)]
    assert buffer.statistics().dropped == {}


def test_no_more_than_the_frames_are_kept():
    buffer = camera(BufferLimits(seconds=100, frames=3))
    fill(buffer, list(range(10)))
    assert stamps(buffer) == [START + ms * MS for ms in (7, 8, 9)]


def test_the_bytes_bound_what_is_kept_objects_included():
    size = held_bytes(_frame())
    assert size > len(message(START)) + 100
    buffer = camera(BufferLimits(seconds=100, bytes=3 * size))
    fill(buffer, list(range(10)))
    assert stamps(buffer) == [START + ms * MS for ms in (7, 8, 9)]
    assert buffer.statistics().bytes == 3 * size


def _frame():
    buffer = camera()
    buffer.add(message(START), 0)
    return buffer.newest()


@given(
    seconds=st.sampled_from([0.0, 0.01, 0.1, 5.0]),
    frames=st.integers(1, 6),
    budget=st.integers(1, 3000),
    arrivals=st.lists(
        st.tuples(st.integers(0, 3000), st.integers(1, 20), st.booleans()), max_size=40
    ),
)
def test_whatever_arrives_the_limits_hold(seconds, frames, budget, arrivals):
    limits = BufferLimits(seconds=seconds, frames=frames, bytes=budget)
    buffer = camera(limits)
    for count, (offset, side, damaged) in enumerate(arrivals, start=1):
        data = message(START + offset * MS, plain((0, 0, 0), side, side))
        before = buffer.statistics().frames
        reason = buffer.add(data[:-1] if damaged else data, 0)
        held = buffer.window(0, 1 << 62)
        statistics = buffer.statistics()
        order = [frame.stamp_ns for frame in held]
        assert order == sorted(set(order))
        assert statistics.frames == len(held) <= frames
        assert statistics.bytes == sum(map(held_bytes, held)) <= budget
        assert (statistics.oldest_ns, statistics.newest_ns) == (
            (order[0], order[-1]) if order else (None, None)
        )
        if order:
            assert order[-1] - order[0] <= seconds * SECOND
        assert statistics.received == count
        assert any(frame.data == data for frame in held) == (reason is None) or reason in (
            DropReason.DUPLICATE_STAMP,
            DropReason.MALFORMED,
        )
        if reason in (DropReason.DUPLICATE_STAMP, DropReason.MALFORMED):
            assert statistics.frames == before
    assert buffer.statistics().received - sum(buffer.statistics().dropped.values()) >= len(
        buffer.window(0, 1 << 62)
    )


def test_memory_stays_within_the_bytes_and_one_frame():
    picture = np.zeros((200, 300, 3), np.uint8)
    budget = 4_000_000
    message(START, picture)  # what rosbags keeps is not the buffer's
    gc.collect()
    tracemalloc.start()
    try:
        base = tracemalloc.get_traced_memory()[0]
        buffer = camera(BufferLimits(seconds=1000, frames=10_000, bytes=budget))
        highest = 0
        for index in range(100):
            buffer.add(message(START + index * MS, picture), 0)
            highest = max(highest, tracemalloc.get_traced_memory()[0] - base)
    finally:
        tracemalloc.stop()
    frame = held_bytes(buffer.newest())
    assert budget - frame < buffer.statistics().bytes <= budget
    assert highest <= budget + frame
    assert highest >= buffer.statistics().bytes  # what is counted is really held


def test_many_small_frames_take_what_is_counted():
    count = 5000
    messages = [message(START + index * MS, plain((0, 0, 0), 1, 1)) for index in range(count)]
    payload = sum(map(sys.getsizeof, messages))
    gc.collect()
    tracemalloc.start()
    try:
        buffer = camera()
        base = tracemalloc.get_traced_memory()[0]
        for data in messages:
            buffer.add(data, 0)
        grown = tracemalloc.get_traced_memory()[0] - base
    finally:
        tracemalloc.stop()
    counted = buffer.statistics().bytes - payload
    assert 0.9 * grown <= counted <= 1.5 * grown


@pytest.mark.parametrize(
    ("kind", "data", "reason"),
    [
        (MessageKind.IMAGE, b"", DropReason.EMPTY),
        (MessageKind.IMAGE, image_message(np.zeros((0, 0, 3), np.uint8)), DropReason.EMPTY),
        (MessageKind.COMPRESSED_IMAGE, compressed_message(b""), DropReason.EMPTY),
        (MessageKind.IMAGE, b"\0\1\0\0garbage", DropReason.MALFORMED),
        (MessageKind.IMAGE, message(START)[:-1], DropReason.MALFORMED),
        (
            MessageKind.COMPRESSED_IMAGE,
            compressed_message(jpeg(scene()))[:-1],
            DropReason.MALFORMED,
        ),
        (MessageKind.IMAGE, message(0), DropReason.ZERO_STAMP),
        (MessageKind.IMAGE, message(-5 * SECOND), DropReason.ZERO_STAMP),
        (MessageKind.IMAGE, message(START + 2 * SECOND), DropReason.FUTURE_STAMP),
        (MessageKind.IMAGE, image_message(PICTURE, "16UC7"), DropReason.UNKNOWN_ENCODING),
        (MessageKind.IMAGE, image_message(PICTURE, "32FC1"), DropReason.UNKNOWN_ENCODING),
        (
            MessageKind.COMPRESSED_IMAGE,
            compressed_message(b"GIF89a.."),
            DropReason.UNKNOWN_ENCODING,
        ),
        (MessageKind.IMAGE, image_message(PICTURE, step=7), DropReason.WRONG_SIZE),
        (MessageKind.IMAGE, image_message(PICTURE, height=9), DropReason.WRONG_SIZE),
        (
            MessageKind.IMAGE,
            image_message(PICTURE, height=1 << 20, width=1 << 20),
            DropReason.TOO_MANY_PIXELS,
        ),
        (
            MessageKind.COMPRESSED_IMAGE,
            compressed_message(png(np.zeros((1, 101), np.uint8))),
            DropReason.TOO_MANY_PIXELS,
        ),
        (
            MessageKind.COMPRESSED_IMAGE,
            compressed_message(jpeg(scene(8, 8))[:-30]),
            DropReason.TRUNCATED,
        ),
        (
            MessageKind.COMPRESSED_IMAGE,
            compressed_message(png(scene(8, 8))[:-30]),
            DropReason.TRUNCATED,
        ),
        (MessageKind.IMAGE, message(START, np.zeros((4, 25, 3), np.uint8)), DropReason.OVERSIZED),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, DropReason) else "",
)
def test_bad_input_is_counted_by_reason_and_dropped(kind, data, reason):
    buffer = camera(BufferLimits(pixels=100, bytes=550), kind)
    assert buffer.add(data, START) is reason
    statistics = buffer.statistics()
    assert statistics.dropped == {reason: 1}
    assert (statistics.received, statistics.frames, statistics.bytes) == (1, 0, 0)
    good = compressed_message(jpeg(PICTURE)) if kind is MessageKind.COMPRESSED_IMAGE else None
    buffer.set_limits(WIDE)
    assert buffer.add(good or message(START), START) is None


@given(st.binary(max_size=300), st.integers(0, 1 << 60))
def test_no_bytes_raise(data, now_ns):
    for kind in MessageKind:
        buffer = camera(WIDE, kind)
        assert buffer.add(data, now_ns) is not None
        assert buffer.add(b"\0\1\0\0" + data, now_ns) is not None


def test_a_camera_on_another_computer_may_be_a_little_ahead():
    buffer = camera(BufferLimits(future_seconds=0.5))
    assert buffer.add(message(START + 500 * MS), START) is None
    assert buffer.add(message(START + 501 * MS), START) is DropReason.FUTURE_STAMP
    assert buffer.add(message(START + 502 * MS), 0) is None  # no clock yet


def test_a_stamp_is_kept_once():
    buffer = camera()
    assert fill(buffer, [0, 10, 0, 10]) == [None, None, *[DropReason.DUPLICATE_STAMP] * 2]
    assert buffer.statistics().dropped == {DropReason.DUPLICATE_STAMP: 2}


def test_a_late_frame_pushes_no_newer_one_out():
    buffer = camera(BufferLimits(seconds=0.5, frames=3))
    assert fill(buffer, [0, 100, 200, 50]) == [None] * 3 + [None]
    assert stamps(buffer) == [START + ms * MS for ms in (50, 100, 200)]
    assert fill(buffer, [20]) == [DropReason.LATE]
    buffer = camera(BufferLimits(seconds=0.1))
    assert fill(buffer, [500, 399]) == [None, DropReason.LATE]
    buffer = camera(BufferLimits(bytes=2 * held_bytes(_frame())))
    assert fill(buffer, [0, 100]) == [None, None]
    assert buffer.add(message(START + 50 * MS, plain((0, 0, 0), 9, 9)), 0) is DropReason.LATE
    assert stamps(buffer) == [START + ms * MS for ms in (0, 100)]


def test_when_a_recording_starts_over_the_buffer_does_too(caplog):
    buffer = camera()
    fill(buffer, [0, 1000, 2000])
    first = buffer.window(0, 1 << 62)
    with caplog.at_level(logging.WARNING):
        assert fill(buffer, [0, 1000]) == [None, None]
    assert stamps(buffer) == [START, START + SECOND]
    assert buffer.statistics().resets == 1
    assert "front: time jumped back by 2.000 s to 1000.000 s" in caplog.text
    again = buffer.window(0, 1 << 62)
    assert [frame.stamp_ns for frame in again] == [frame.stamp_ns for frame in first[:2]]
    assert {frame.key for frame in again}.isdisjoint(frame.key for frame in first)


def test_when_the_clock_jumps_back_the_buffer_is_cleared_even_by_a_near_stamp():
    buffer = camera()
    assert buffer.add(message(START), START + 5 * SECOND) is None
    assert buffer.add(message(START - 500 * MS), START) is None
    assert stamps(buffer) == [START - 500 * MS]
    assert buffer.statistics().resets == 1
    assert buffer.add(message(START), START + 10 * MS) is None
    assert buffer.statistics().resets == 1


def test_clearing_forgets_frames_and_keeps_counts():
    buffer = camera()
    fill(buffer, [0, 0, 10])
    buffer.clear()
    statistics = buffer.statistics()
    assert (statistics.frames, statistics.bytes, statistics.newest_ns) == (0, 0, None)
    assert (statistics.received, statistics.resets) == (3, 0)
    assert statistics.dropped == {DropReason.DUPLICATE_STAMP: 1}
    assert fill(buffer, [-5000]) == [None]
    assert buffer.statistics().resets == 0


def test_narrower_limits_hold_at_once():
    buffer = camera()
    fill(buffer, [0, 100, 200, 300])
    buffer.set_limits(BufferLimits(frames=3))
    assert len(stamps(buffer)) == 3
    buffer.set_limits(BufferLimits(seconds=0.1))
    assert len(stamps(buffer)) == 2
    buffer.set_limits(BufferLimits(bytes=held_bytes(_frame())))
    assert stamps(buffer) == [START + 300 * MS]
    buffer.set_limits(BufferLimits(bytes=1))
    assert buffer.statistics().bytes == 0


def test_a_frame_that_turns_out_bad_is_dropped_and_counted_once():
    buffer = camera()
    fill(buffer, [0, 10])
    frame = buffer.newest()
    buffer.discard(frame, DropReason.UNDECODABLE)
    buffer.discard(frame, DropReason.UNDECODABLE)
    assert stamps(buffer) == [START]
    assert buffer.statistics().dropped == {DropReason.UNDECODABLE: 1}
    buffer.discard(_frame(), DropReason.UNDECODABLE)  # the same stamp, of another buffer
    assert stamps(buffer) == [START]


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"frames": 0},
        {"bytes": 0},
        {"pixels": 0},
        {"future_seconds": -0.1},
    ],
)
def test_limits_without_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InvalidRequest, match=f"{name} is "):
        BufferLimits(**wrong)


def test_threads_add_and_read_at_once():
    buffer = camera(BufferLimits(seconds=1000, frames=50))
    step = MS // 10  # however far one lane falls behind, its stamps do not look like a reset
    wrong = []

    def add(lane: int) -> None:
        for index in range(300):
            buffer.add(message(START + (index * 4 + lane) * step), 0)

    def read() -> None:
        while any(thread.is_alive() for thread in adders):
            order = stamps(buffer)
            if order != sorted(set(order)) or len(order) > 50:
                wrong.append(order)
            buffer.statistics()

    adders = [threading.Thread(target=add, args=(lane,)) for lane in range(4)]
    for thread in adders:
        thread.start()
    reader = threading.Thread(target=read)
    reader.start()
    for thread in [*adders, reader]:
        thread.join()
    assert wrong == []
    statistics = buffer.statistics()
    assert statistics.received == 1200
    assert statistics.newest_ns == START + 1199 * step
