# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import threading
import time

import pytest

from vila_ros.engine.interface import FinishReason, TextChunk
from vila_ros.engine.reply import Reply, ReplyStream
from vila_ros.errors import Cancelled, DeadlineExceeded, EngineDown


@pytest.fixture
def dropped():
    return []


@pytest.fixture
def asked(dropped):
    """Makes a reply and its stream; what is dropped is noted."""

    def make(deadline: float | None = None) -> tuple[Reply, ReplyStream]:
        reply = Reply("r", deadline)
        return reply, ReplyStream(reply, drop=lambda it: (it.drop(), dropped.append(it)))

    return make


def test_chunks_come_out_in_order_and_end_with_the_finish_reason(asked, dropped):
    reply, stream = asked()
    chunks = [TextChunk("a", 1), TextChunk("b", 2), TextChunk(finish_reason=FinishReason.STOP)]
    for chunk in chunks:
        reply.deliver(chunk)
    assert list(stream) == chunks
    assert list(stream) == []
    stream.close()
    assert dropped == []


def test_an_error_comes_behind_the_chunks_before_it_and_once(asked):
    reply, stream = asked()
    reply.deliver(TextChunk("a", 1))
    reply.fail(EngineDown("gone"))
    assert next(stream).text == "a"
    with pytest.raises(EngineDown, match="gone"):
        next(stream)
    assert list(stream) == []


def test_a_dropped_reply_is_cancelled_before_the_chunks_that_wait(asked):
    reply, stream = asked()
    reply.deliver(TextChunk("a", 1))
    reply.drop()
    with pytest.raises(Cancelled, match="'r' was cancelled"):
        next(stream)


def test_dropping_wakes_the_asker_who_waits(asked):
    reply, stream = asked()
    raised = []

    def wait() -> None:
        with pytest.raises(Cancelled):
            next(stream)
        raised.append(True)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    reply.drop()
    thread.join()
    assert raised


def test_the_deadline_ends_the_wait_and_drops_the_request(asked, dropped):
    reply, stream = asked(deadline=time.monotonic() + 0.05)
    reply.deliver(TextChunk("a", 1))
    assert next(stream).text == "a"
    with pytest.raises(DeadlineExceeded, match="1 tokens were generated"):
        next(stream)
    assert dropped == [reply]


def test_until_the_deadline_the_asker_waits(asked):
    reply, stream = asked(deadline=time.monotonic() + 60.0)
    threading.Timer(0.1, reply.deliver, [TextChunk("late", 1)]).start()
    assert next(stream).text == "late"


def test_what_came_before_the_deadline_is_handed_out_after_it(asked):
    reply, stream = asked(deadline=time.monotonic() - 1.0)
    reply.deliver(TextChunk("a", 1, finish_reason=FinishReason.STOP))
    assert [chunk.text for chunk in stream] == ["a"]


@pytest.mark.parametrize("how", ["close", "let go"])
def test_an_asker_who_leaves_drops_the_request(asked, dropped, how):
    reply, stream = asked()
    if how == "close":
        stream.close()
        stream.close()
    del stream
    assert dropped == [reply]
