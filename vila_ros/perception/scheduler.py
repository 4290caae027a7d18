# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which question is next: higher priority, then earlier deadline, then earlier arrival."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass
from typing import Generic, TypeVar

from vila_ros.errors import InvalidRequest, QueueFull

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """The place of a question in the queue; the smallest is next.

    background: background questions come after all others. urgency: the priority, negated.
    deadline: on time.monotonic(). arrival: counts the questions.
    """

    background: bool
    urgency: int
    deadline: float
    arrival: int


class QuestionQueue(Generic[Item]):
    """Waiting questions in their order. Not thread-safe: its owner holds a lock.

    Questions and background questions are bounded apart, each by limit, so that background
    questions never make a question be refused.
    """

    def __init__(self, limit: int) -> None:
        self.set_limit(limit)
        self._waiting: list[tuple[Rank, Item]] = []
        self._arrivals = 0

    @property
    def limit(self) -> int:
        """How many may wait."""
        return self._limit

    def set_limit(self, limit: int) -> None:
        """Let `limit` questions wait; more that wait already stay."""
        if limit < 1:
            raise InvalidRequest(f"queue_size is {limit}; at least 1.")
        self._limit = limit

    def count(self, background: bool = False) -> int:
        """How many wait of one sort."""
        return sum(rank.background == background for rank, _ in self._waiting)

    def push(
        self, item: Item, *, priority: int = 0, deadline: float, background: bool = False
    ) -> None:
        """Let an item wait. Raises QueueFull, naming the limit."""
        waiting = self.count(background)
        if waiting >= self._limit:
            raise QueueFull(
                f"{waiting} {'background ' if background else ''}questions wait already, as many "
                f"as the queue holds (queue_size {self._limit}); ask again later or raise it."
            )
        self._arrivals += 1
        rank = Rank(background, -priority, deadline, self._arrivals)
        insort(self._waiting, (rank, item), key=lambda entry: entry[0])

    def pop(self, background: bool = False) -> Item | None:
        """Take the next item of one sort out; None where none waits."""
        for index, (rank, item) in enumerate(self._waiting):
            if rank.background == background:
                del self._waiting[index]
                return item
        return None

    def remove(self, item: Item) -> bool:
        """Take an item out; False where it does not wait."""
        for index, (_, other) in enumerate(self._waiting):
            if other is item:
                del self._waiting[index]
                return True
        return False

    def items(self) -> list[Item]:
        """All that wait, the next one first."""
        return [item for _, item in self._waiting]
