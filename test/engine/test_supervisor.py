# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine in a worker process answers as one in the node's own would; see test_supervisor_faults
for what happens when it does not."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from test.doubles import EchoEngine
from test.engine.conftest import image, request, text_of, wait_until
from vila_ros.engine.interface import (
    Engine,
    FinishReason,
    GenerationRequest,
    ImagePart,
    Stage,
    VideoPart,
)
from vila_ros.engine.supervision import EngineState, SupervisionPolicy
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    InvalidImage,
    InvalidRequest,
    InvalidSchema,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
    TooManyFrames,
)

SLOW = 0.05


def endless(**fields: object) -> GenerationRequest:
    """A request whose answer takes minutes of an engine with delay SLOW."""
    return request(" ".join(["word"] * 4000), max_tokens=4000, **fields)


def soon(text: str, **fields: object) -> GenerationRequest:
    """A request that an engine busy with an endless one would not answer in time."""
    return request(text, deadline=time.monotonic() + 60.0, **fields)


def test_it_is_an_engine(supervised):
    engine = supervised(load=False)
    assert isinstance(engine, Engine)
    assert engine.capabilities is None
    assert engine.load() == engine.capabilities
    assert engine.capabilities.runtime == "echo"


def test_the_answer_is_that_of_the_engine_in_process(supervised):
    asked = request("what is here", image(255, key="front@1"), choices=(), stop=("never",))
    in_process = EchoEngine("double")
    in_process.load()
    expected, received = (list(each.generate(asked)) for each in (in_process, supervised()))
    assert [(c.text, c.tokens, c.stage, c.finish_reason) for c in received] == [
        (c.text, c.tokens, c.stage, c.finish_reason) for c in expected
    ]
    assert received[-1].stats.prompt_tokens == expected[-1].stats.prompt_tokens
    assert received[-1].stats.images_encoded == 1


def test_all_fields_of_a_request_reach_the_engine(supervised):
    engine = supervised()
    *_, last = engine.generate(request("yes or no", choices=("no", "yes", "maybe")))
    assert last.choice_probabilities == pytest.approx((0.7, 0.15, 0.15))
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    assert text_of(engine.generate(request("x", json_schema=schema))) == '{"n": 0}'
    assert text_of(engine.generate(request("one two three", stop=("two",)))) == "one "
    *_, last = engine.generate(request("one two three", max_tokens=2))
    assert last.finish_reason is FinishReason.LENGTH


def test_large_images_arrive_whole(supervised):
    engine = supervised()
    generator = np.random.default_rng(0)
    images = [
        ImagePart(generator.integers(0, 256, (1080, 1920, 3), np.uint8), f"front@{index}")
        for index in range(8)
    ]
    asked = request("see", *images)
    assert text_of(engine.generate(asked)) == " ".join(EchoEngine("double").answer(asked))


def test_a_video_arrives_as_one_medium(supervised):
    video = VideoPart(tuple(image(red).pixels for red in (10, 20, 30)), key="clip")
    assert text_of(supervised().generate(request("see", video))) == "see clip:3x6x4:#140000"


def test_a_hundred_requests_at_once_get_each_its_own_answer(supervised):
    engine = supervised(delay=0.001, max_concurrency=8)
    with ThreadPoolExecutor(100) as askers:
        answers = askers.map(
            lambda n: text_of(engine.generate(request(f"number {n} asks", image(n)))), range(100)
        )
        for number, answer in enumerate(answers):
            assert answer == f"number {number} asks image:6x4:#{number:02x}0000"
    wait_until(lambda: engine.status().in_flight == 0)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (request("word " * 4000, *[image(0)] * 7),
         PromptTooLong),
        (request("x", *[image(0)] * 65), TooManyFrames),
        (request("x", json_schema="{"), InvalidSchema),
        (request("x", max_tokens=0), InvalidRequest),
        (request("a !vila-oom"), OutOfMemory),
        (request("a !oom"), OutOfMemory),
        (request("a !raise"), EngineFailed),
        (request("a !sysexit"), EngineFailed),
        (request("x", ImagePart(np.zeros((2, 2), np.uint8))), InvalidImage),
        (request("x", temperature=np.float32(0.5)), InvalidRequest),
        (request("x" * 17_000_000), InvalidRequest),
    ],
)  # fmt: skip
def test_an_error_of_one_request_is_raised_by_its_iterator_and_harms_no_other(
    supervised, asked, error
):
    engine = supervised()
    worker = engine.status().worker_pid
    stream = engine.generate(asked)
    with pytest.raises(error):
        text_of(stream)
    assert text_of(engine.generate(request("next"))) == "next"
    assert engine.status().worker_pid == worker


def test_an_unforeseen_error_says_its_type_and_logs_where_it_was_raised(supervised):
    lines = []
    engine = supervised(on_log=lambda level, line: lines.append(line))
    with pytest.raises(EngineFailed, match="generation failed with RuntimeError: the runtime has"):
        text_of(engine.generate(request("!raise")))
    wait_until(lambda: any(line.startswith('  File "') and "doubles.py" in line for line in lines))


def test_cancel_ends_the_answer_here_and_in_the_worker(supervised):
    engine = supervised(delay=SLOW, max_concurrency=1)
    asked = endless()
    stream = engine.generate(asked)
    while next(stream).tokens < 3:
        pass
    engine.cancel(asked.request_id)
    with pytest.raises(Cancelled):
        text_of(stream)
    # The engine generates one answer at a time: this one comes when the other has been ended.
    assert text_of(engine.generate(soon("next"))) == "next"


def test_cancel_of_a_request_that_waits_inside_the_engine(supervised):
    engine = supervised(delay=SLOW, max_concurrency=1)
    running = engine.generate(endless())
    next(running)
    asked = request("waits")
    waiting = engine.generate(asked)
    assert next(waiting).stage is Stage.QUEUED
    engine.cancel(asked.request_id)
    with pytest.raises(Cancelled):
        text_of(waiting)


def test_cancel_of_an_unknown_id_is_ignored(supervised):
    engine = supervised()
    engine.cancel("nobody asked")
    assert text_of(engine.generate(soon("next"))) == "next"


@pytest.mark.parametrize("how", ["close", "break"])
def test_an_iterator_that_is_left_ends_the_answer_in_the_worker(supervised, how):
    engine = supervised(delay=SLOW, max_concurrency=1)
    if how == "close":
        with contextlib.closing(engine.generate(endless())) as stream:
            next(stream)
    else:
        for _ in engine.generate(endless()):
            break
    assert text_of(engine.generate(soon("next"))) == "next"


def test_a_name_can_be_given_again_as_soon_as_its_request_is_cancelled(supervised):
    engine = supervised(delay=SLOW, max_concurrency=1)
    first = engine.generate(endless(request_id="same"))
    next(first)
    engine.cancel("same")
    assert text_of(engine.generate(soon("next", request_id="same"))) == "next"


def test_a_name_that_is_in_flight_is_refused(supervised):
    engine = supervised(delay=SLOW)
    first = engine.generate(endless(request_id="same"))
    next(first)
    with pytest.raises(InvalidRequest, match="'same' is in flight already"):
        text_of(engine.generate(soon("next", request_id="same")))
    assert next(first) is not None


def test_more_requests_than_the_limit_are_refused(supervised):
    engine = supervised(delay=SLOW, policy=SupervisionPolicy(max_requests=2))
    streams = [engine.generate(endless()) for _ in range(2)]
    with pytest.raises(QueueFull, match="2 requests are in the engine, at most 2 may be"):
        text_of(engine.generate(request("third")))
    streams.pop().close()
    wait_until(lambda: engine.status().in_flight == 1)


def test_a_deadline_that_the_engine_keeps(supervised):
    engine = supervised(delay=SLOW, max_concurrency=1)
    with pytest.raises(DeadlineExceeded):
        text_of(engine.generate(endless(deadline=time.monotonic() + 0.1)))
    assert text_of(engine.generate(soon("next"))) == "next"


def test_the_status_tells_of_the_worker(supervised):
    seen = []
    engine = supervised(load=False, on_status=seen.append)
    assert engine.status().state is EngineState.STOPPED
    engine.load()
    text_of(engine.generate(request("one two three")))
    wait_until(lambda: engine.status().tokens_per_second > 0)
    status = engine.status()
    assert status.state is EngineState.READY
    assert status.memory_bytes > 1_000_000
    assert status.in_flight == 0
    assert status.load_seconds > 0
    assert status.capabilities == engine.capabilities
    engine.close()
    assert engine.status().worker_pid is None
    states = [EngineState.STARTING, EngineState.READY, EngineState.STOPPED]
    assert [each.state for each in seen] == states


def test_callbacks_that_raise_do_no_harm(supervised):
    def refuse(*_: object) -> None:
        raise RuntimeError("a bug of the caller's")

    engine = supervised(on_status=refuse, on_log=refuse)
    assert text_of(engine.generate(request("!flood next"))) == "!flood next"


def test_before_start_a_request_says_so(supervised):
    engine = supervised(load=False)
    with pytest.raises(EngineDown, match="STOPPED; start it first"):
        text_of(engine.generate(request("early")))


def test_close_cancels_what_is_in_flight_and_start_begins_anew(supervised):
    engine = supervised(delay=SLOW)
    stream = engine.generate(endless())
    next(stream)
    closers = [threading.Thread(target=engine.close, daemon=True) for _ in range(2)]
    for closer in closers:
        closer.start()
    with pytest.raises(Cancelled):
        text_of(stream)
    for closer in closers:
        closer.join()
    with pytest.raises(EngineDown, match="STOPPED"):
        text_of(engine.generate(request("late")))
    engine.load()
    assert text_of(engine.generate(request("again"))) == "again"
