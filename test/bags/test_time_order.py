# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Spans become one stream, and are opened only when their time has come."""

from __future__ import annotations

import random
from functools import partial

from vila_ros.bags.time_order import Span, merge_in_time
from vila_ros.bags.types import RecordedMessage


def message(stamp: int, topic: str = "/t") -> RecordedMessage:
    return RecordedMessage(topic, "std_msgs/msg/Empty", stamp, b"")


def test_any_overlap_comes_out_sorted():
    chance = random.Random(3)
    spans, everything = [], []
    for _ in range(50):
        start = chance.randrange(1000)
        stamps = sorted(chance.randrange(start, start + 200) for _ in range(chance.randrange(20)))
        spans.append(Span(start, partial(iter, [message(stamp) for stamp in stamps])))
        everything += stamps
    assert [m.stamp_ns for m in merge_in_time(spans)] == sorted(everything)


def test_equal_stamps_keep_the_order_of_the_spans():
    spans = [Span(5, partial(iter, [message(5, f"/{i}"), message(6, f"/{i}")])) for i in range(4)]
    order = [(m.stamp_ns, m.topic) for m in merge_in_time(spans)]
    assert order == [(stamp, f"/{i}") for stamp in (5, 6) for i in range(4)]


def test_a_span_is_opened_no_earlier_than_needed():
    opened = []

    def read(start: int):
        opened.append(start)
        yield message(start)
        yield message(start + 5)

    merged = merge_in_time([Span(start, partial(read, start)) for start in (20, 0, 10)])
    assert opened == []
    assert next(merged).stamp_ns == 0
    assert opened == [0]
    assert [m.stamp_ns for m in merged] == [5, 10, 15, 20, 25]
