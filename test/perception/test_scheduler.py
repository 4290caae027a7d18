# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The order of the queue, and its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vila_ros.errors import InvalidRequest, QueueFull
from vila_ros.perception.scheduler import QuestionQueue


def emptied(queue: QuestionQueue) -> list:
    order = []
    while (item := queue.pop()) is not None:
        order.append(item)
    return order


def test_priority_then_deadline_then_arrival():
    queue: QuestionQueue[str] = QuestionQueue(10)
    queue.push("late", deadline=9.0)
    queue.push("soon", deadline=2.0)
    queue.push("soon, asked later", deadline=2.0)
    queue.push("low", priority=-10, deadline=1.0)
    queue.push("high", priority=10, deadline=99.0)
    order = ["high", "soon", "soon, asked later", "late", "low"]
    assert queue.items() == order
    assert emptied(queue) == order
    assert queue.pop() is None


@given(st.lists(st.tuples(st.integers(-128, 127), st.integers(0, 5)), max_size=30))
def test_any_questions_come_out_in_their_order(ranks):
    queue: QuestionQueue[tuple] = QuestionQueue(100)
    for arrival, (priority, deadline) in enumerate(ranks):
        queue.push((priority, deadline, arrival), priority=priority, deadline=deadline)
    assert emptied(queue) == sorted(queue.items() or [
        (priority, deadline, arrival) for arrival, (priority, deadline) in enumerate(ranks)
    ], key=lambda item: (-item[0], item[1], item[2]))  # fmt: skip


def test_background_questions_come_apart():
    queue: QuestionQueue[str] = QuestionQueue(10)
    queue.push("describe", priority=10, deadline=1.0, background=True)
    queue.push("question", priority=-10, deadline=9.0)
    assert (queue.count(), queue.count(background=True)) == (1, 1)
    assert queue.items() == ["question", "describe"]
    assert emptied(queue) == ["question"]
    assert queue.pop(background=True) == "describe"


def test_a_full_queue_refuses_naming_its_limit_and_background_fills_no_place():
    queue: QuestionQueue[str] = QuestionQueue(2)
    queue.push("describe", deadline=1.0, background=True)
    queue.push("one", deadline=1.0)
    queue.push("two", deadline=1.0)
    with pytest.raises(QueueFull, match=r"2 questions wait already.*queue_size 2"):
        queue.push("three", deadline=1.0)
    queue.push("describe again", deadline=1.0, background=True)
    with pytest.raises(QueueFull, match="2 background questions"):
        queue.push("and again", deadline=1.0, background=True)
    queue.set_limit(3)
    queue.push("three", deadline=1.0)
    queue.set_limit(1)
    assert queue.count() == 3
    with pytest.raises(InvalidRequest, match="queue_size is 0; at least 1"):
        queue.set_limit(0)


def test_a_question_that_gave_up_leaves_the_queue():
    queue: QuestionQueue[object] = QuestionQueue(3)
    first, second = object(), object()
    queue.push(first, deadline=1.0)
    queue.push(second, deadline=2.0)
    assert queue.remove(first)
    assert not queue.remove(first)
    assert queue.items() == [second]
