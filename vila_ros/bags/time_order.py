# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Merge parts of a recording (chunks, split files) into one stream in time order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from vila_ros.bags.types import RecordedMessage


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a recording whose messages come in time order, none before start_ns."""

    start_ns: int
    read: Callable[[], Iterator[RecordedMessage]]


def merge_in_time(spans: Iterable[Span]) -> Iterator[RecordedMessage]:
    """All messages in time order; equal stamps keep the order of the spans.

    A span is read only when its time has come, so that only spans that overlap in time are in
    memory together.
    """
    waiting = sorted(enumerate(spans), key=lambda item: (item[1].start_ns, item[0]))
    waiting.reverse()
    # (stamp, rank of the span, message, rest of the span); the rank is unique, so that comparison
    # never reaches the message.
    running: list[tuple[int, int, RecordedMessage, Iterator[RecordedMessage]]] = []
    while waiting or running:
        if waiting and (not running or waiting[-1][1].start_ns <= running[0][0]):
            rank, span = waiting.pop()
            messages = span.read()
            first = next(messages, None)
            if first is not None:
                heapq.heappush(running, (first.stamp_ns, rank, first, messages))
            continue
        _, rank, message, messages = running[0]
        yield message
        following = next(messages, None)
        if following is None:
            heapq.heappop(running)
        else:
            heapq.heapreplace(running, (following.stamp_ns, rank, following, messages))
