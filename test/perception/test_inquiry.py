# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of an answer on its way, and how those who asked are told."""

import threading

import pytest

from vila_ros.engine.interface import FinishReason, GenerationStats, Stage, TextChunk
from vila_ros.errors import Cancelled, DeadlineExceeded
from vila_ros.perception.inquiry import Inquiry, Messenger
from vila_ros.perception.types import Question


def inquiry(on_progress=None, on_done=lambda answer: None) -> Inquiry:
    return Inquiry("q-1", Question("What?"), on_progress, on_done, background=False)


def test_the_first_end_counts():
    asked = inquiry()
    first = asked.end(Cancelled("stopped"))
    assert first is not None
    assert isinstance(first.error, Cancelled)
    assert asked.end(DeadlineExceeded("late")) is None
    asked.add(TextChunk("too late", 1))
    assert asked.news()[1] is first
    assert asked.text == ""


def test_an_answer_that_ended_early_keeps_its_text():
    asked = inquiry()
    asked.enter(Stage.ENCODING)
    asked.add(TextChunk("a ", 1))
    asked.add(TextChunk("b", 2))
    answer = asked.end(Cancelled("stopped"))
    assert answer.text == "a b"
    assert 0 < answer.time_to_first_token <= answer.total_time


def test_what_waits_inside_the_engine_does_not_go_back_a_stage():
    asked = inquiry()
    asked.enter(Stage.ENCODING)
    assert asked.news()[0].stage is Stage.ENCODING
    asked.add(TextChunk(stage=Stage.QUEUED))
    assert asked.news() == (None, None)
    asked.add(TextChunk("a", 1))
    assert asked.news()[0].stage is Stage.GENERATING


def test_times_count_from_acceptance_and_add_what_the_engine_waited():
    asked = inquiry()
    asked.hand_over(None)
    asked.add(TextChunk(stage=Stage.QUEUED))
    stats = GenerationStats(queue_time=5.0)
    asked.add(TextChunk("x", 1, finish_reason=FinishReason.STOP, stats=stats))
    answer = asked.end()
    assert answer.stats is stats
    assert 5.0 < answer.queue_time <= 5.0 + answer.total_time


def test_what_did_not_happen_took_no_time():
    answer = inquiry().end(Cancelled("stopped"))
    assert (answer.queue_time, answer.decode_time, answer.time_to_first_token) == (0.0, 0.0, 0.0)
    assert answer.total_time > 0
    assert answer.window_ns == (0, 0)


@pytest.fixture
def messenger():
    messenger = Messenger()
    yield messenger
    messenger.close(5)


def test_the_slow_get_the_newest_progress_and_then_the_answer_once(messenger):
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()
    told = []

    def on_progress(progress):
        told.append(progress.text)
        started.set()
        assert go_on.wait(10)

    def on_done(answer):
        told.append(answer)
        done.set()

    asked = inquiry(on_progress, on_done)
    messenger.tell(asked)
    assert started.wait(10)
    for tokens in range(1, 100):
        asked.add(TextChunk("x", tokens))
        messenger.tell(asked)
    answer = asked.end()
    messenger.tell(asked)
    go_on.set()
    assert done.wait(10)
    messenger.close(5)
    assert told == ["", "x" * 99, answer]


def test_an_answer_is_told_once_however_often_there_is_news(messenger):
    done, answers = threading.Event(), []

    def on_done(answer):
        answers.append(answer)
        done.set()

    asked = inquiry(None, on_done)
    answer = asked.end()
    messenger.tell(asked)
    assert done.wait(10)
    messenger.tell(asked)
    messenger.close(5)
    messenger.tell(asked)
    assert answers == [answer]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(messenger, caplog):
    done = threading.Event()

    def fail(_):
        raise ValueError("a bug of the caller")

    first, second = inquiry(fail, fail), inquiry(None, lambda answer: done.set())
    for asked in (first, second):
        asked.end()
        messenger.tell(asked)
    assert done.wait(10)
    messages = [str(record.exc_info[1]) for record in caplog.records]
    assert messages == ["a bug of the caller"] * 2


def test_after_close_it_is_told_at_once():
    messenger = Messenger()
    messenger.close(5)
    answers = []
    asked = inquiry(None, answers.append)
    asked.end()
    messenger.tell(asked)
    assert len(answers) == 1
