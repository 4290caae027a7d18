# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an engine over HTTP answers when its servers are well, if odd."""

import asyncio
import contextlib
import threading
import time

import numpy as np
import pytest

from test.engine.openai.conftest import answer, ask, image
from test.engine.servers.process import ServerProcess
from vila_ros.engine.interface import (
    Engine,
    EngineSpec,
    FinishReason,
    Stage,
    TextPart,
    VideoPart,
)
from vila_ros.engine.registry import create_engine
from vila_ros.errors import Cancelled, DeadlineExceeded, InvalidImage, InvalidRequest, TooManyFrames


def test_it_is_the_runtime_openai_http(server):
    spec = EngineSpec("openai_http", "tiny", {"servers": [server.url()]})
    engine = create_engine(spec)
    assert isinstance(engine, Engine)
    assert engine.capabilities is None
    engine.close()


def test_an_answer_streams_word_by_word_and_ends_with_what_it_cost(connect):
    chunks = list(connect("ok").generate(ask("one two three")))
    assert [chunk.text for chunk in chunks if chunk.text] == ["one", " two", " three"]
    assert [chunk.tokens for chunk in chunks if chunk.text] == [1, 2, 3]
    stages = [chunk.stage for chunk in chunks]
    assert stages[:2] == [Stage.QUEUED, Stage.ENCODING]
    assert set(stages[2:]) == {Stage.GENERATING}
    last = chunks[-1]
    assert last.finish_reason is FinishReason.STOP
    assert (last.stats.prompt_tokens, last.stats.completion_tokens) == (3, 3)
    assert last.stats.cached_tokens == 3
    assert 0 < last.stats.time_to_first_token <= last.stats.total_time


def test_images_arrive_in_their_places(connect):
    red, green = image(200, 0, 0, (48, 64)), image(0, 200, 0, (32, 40))
    text, last = answer(connect("ok", image_format="png"), ask(red, "then", green, "so?"))
    assert text == "png:64x48:200,0,0 png:40x32:0,200,0 so?"
    assert last.stats.images_encoded == 2


def test_images_travel_as_jpeg_shrunk_to_the_bound(connect):
    text, _ = answer(connect("ok", max_image_side=32), ask(image(size=(48, 64))))
    assert text.split()[0].startswith("jpeg:32x24:")


def test_an_image_is_encoded_once_for_all_questions(connect):
    engine = connect("ok")
    first = ask(image(key="front@1"), image(key="front@2"), "a")
    second = ask(image(key="front@2"), image(key="front@3"), "b")
    stats = [answer(engine, request)[1].stats for request in (first, second, second)]
    assert [each.images_encoded for each in stats] == [2, 1, 0]
    assert [each.images_cached for each in stats] == [0, 1, 2]


def test_a_clip_goes_as_frames_or_as_one_video(connect):
    clip = VideoPart((image(200).pixels, image(0, 200).pixels), "clip")
    as_frames, _ = answer(connect("ok", image_format="png"), ask(clip, "?"))
    assert as_frames == "png:64x48:200,0,0 png:64x48:0,200,0 ?"
    engine = connect("ok", video="video_url")
    as_video, _ = answer(engine, ask(clip, "?"))
    assert as_video.startswith("jpeg:64x48:")
    assert as_video.count("+jpeg:64x48:") == 1
    assert engine.capabilities.video


def test_max_tokens_ends_an_answer(connect):
    text, last = answer(connect("ok"), ask("one two three", max_tokens=2))
    assert (text, last.finish_reason) == ("one two", FinishReason.LENGTH)


def test_a_stop_string_ends_an_answer_also_where_the_server_ignores_it(connect):
    text, last = answer(connect("ignores_stop"), ask("count", stop=("STOP",)))
    assert (text, last.finish_reason) == ("one two ", FinishReason.STOP)


def test_sampling_is_told_explicitly(connect, server, user):
    engine = connect("ok")
    answer(engine, ask("greedy"))
    answer(engine, ask("warm", temperature=0.7, top_p=0.9, seed=2**64 - 1))
    greedy, warm = (entry["body"] for entry in server.entries("asked", user))
    assert greedy["temperature"] == 0
    assert "seed" not in greedy
    assert (warm["temperature"], warm["top_p"]) == (0.7, 0.9)
    assert 0 <= warm["seed"] < 2**31


def test_what_a_server_tells_becomes_capabilities(connect):
    capabilities = connect("context=4096").capabilities
    assert capabilities.context_length == 4096
    assert capabilities.tokens_per_image == 7  # as the server counted
    assert capabilities.structured_output
    assert capabilities.choice_probabilities
    options = {"context_length": 100, "tokens_per_image": 5, "max_images": 3}
    told = connect("context=4096", **options).capabilities
    assert (told.context_length, told.tokens_per_image, told.max_images) == (100, 5, 3)


@pytest.mark.parametrize("behaviour", ["whole", "picky", "wants_max_completion_tokens"])
@pytest.mark.parametrize("always", ["", "always-"])
def test_odd_servers_are_met_halfway(connect, behaviour, always):
    text, last = answer(connect(always + behaviour), ask(image(200), "what", stop=("never",)))
    assert text.endswith(" what")
    assert last.finish_reason is FinishReason.STOP


def test_refused_fields_are_left_out_and_that_is_remembered(connect, server, user):
    engine = connect("lacks=seed,stream_options")
    for _ in range(2):
        text, _ = answer(engine, ask("hello", temperature=1.0))
        assert text == "hello"
    asked = server.entries("asked", user)
    assert len(asked) == 4  # two refusals, then none
    assert not {"seed", "stream_options"} & set(asked[-1]["fields"])
    assert "top_p" in asked[-1]["fields"]


def test_an_odd_stream_is_read_right(connect):
    assert answer(connect("odd_stream"), ask("x"))[0] == "a \U0001f600 b"


def test_cancel_disconnects_at_once(connect, server, user):
    engine = connect("hang")
    request = ask("wait")
    stream = engine.generate(request)
    threading.Thread(
        target=lambda: (server.wait_for("asked", user=user), engine.cancel(request.request_id))
    ).start()
    with pytest.raises(Cancelled):
        list(stream)
    assert server.wait_for("disconnected", user=user)


def test_cancel_before_the_first_chunk_counts(connect, server, user):
    engine = connect("ok")
    request = ask("never")
    stream = engine.generate(request)
    engine.cancel(request.request_id)
    with pytest.raises(Cancelled):
        list(stream)
    assert not server.entries("asked", user)


def test_closing_the_stream_disconnects(connect, server, user):
    stream = connect("half_then_silence").generate(ask("one two"))
    assert any(chunk.text for chunk in stream)
    stream.close()
    assert server.wait_for("disconnected", user=user)


@pytest.mark.parametrize(
    "behaviour",
    ["hang", "trickle", "half_then_silence", "half_then_comments", "half_then_empty_events"],
)
def test_the_deadline_holds_wherever_the_server_is_slow(connect, server, user, behaviour):
    engine = connect(behaviour)
    for allowed in (0.3, 3.0, 15.0):
        with pytest.raises(DeadlineExceeded):
            list(engine.generate(ask("x", deadline=time.monotonic() + allowed)))
        if server.entries("asked", user):  # else a busy machine did not come to ask in time
            break
    assert server.wait_for("disconnected", user=user)


def test_a_deadline_that_has_passed_asks_nobody(connect, server, user):
    with pytest.raises(DeadlineExceeded):
        list(connect("ok").generate(ask("x", deadline=time.monotonic() - 1)))
    assert not server.entries("asked", user)


def test_a_question_within_its_deadline_is_answered(connect):
    assert answer(connect("slow"), ask("x", deadline=time.monotonic() + 60))[0] == "x"


def test_close_ends_what_is_under_way(connect, server, user):
    engine = connect("hang")
    stream = engine.generate(ask("x"))
    threading.Thread(target=lambda: (server.wait_for("asked", user=user), engine.close())).start()
    with pytest.raises(Cancelled):
        list(stream)
    with pytest.raises(Cancelled):
        list(engine.generate(ask("y")))


def test_a_question_that_comes_while_the_engine_closes_is_not_left_waiting(connect):
    engine = connect("ok")
    held, go_on, errors = threading.Event(), threading.Event(), []

    async def hold_the_loop():
        held.set()
        go_on.wait()

    def run():
        with pytest.raises(Cancelled) as caught:
            list(engine.generate(ask("x")))
        errors.append(caught.value)

    engine._loop.submit(hold_the_loop())
    held.wait()
    asker = threading.Thread(target=run, daemon=True)
    asker.start()
    while not any(call.future for call in list(engine._calls.values())):
        time.sleep(0.001)
    # What close() does last; the question was not there yet when it looked for those to cancel.
    closing = threading.Thread(target=engine._loop.stop)
    closing.start()
    while not engine._loop._stopped:
        time.sleep(0.001)
    with engine._loop._lock:
        go_on.set()
    for thread in (closing, asker):
        thread.join()
    assert errors


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_cancellation_that_asyncio_loses_disconnects_all_the_same(
    connect, tmp_path, user, monkeypatch, end
):
    """As wait_for of Python 3.10 and 3.11 does when what it awaits ends in the same moment."""

    async def losing(awaited, seconds):
        task = asyncio.ensure_future(awaited)
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        return task.result()

    slowly = ServerProcess(tmp_path / "log", delay=0.01)
    try:
        engine = connect(servers=[slowly.url(user=user)], check_interval=60.0)
        monkeypatch.setattr("vila_ros.engine.openai_exchange.asyncio.wait_for", losing)
        request = ask("word " * 200)
        stream = engine.generate(request)
        while not next(stream).text:
            pass
        if end == "cancel":
            engine.cancel(request.request_id)
            with pytest.raises(Cancelled):
                list(stream)
        stream.close()
        while not (slowly.entries("disconnected", user) or slowly.entries("finished", user)):
            time.sleep(0.01)
        assert not slowly.entries("finished", user)
    finally:
        slowly.kill()


def test_further_questions_wait_inside(connect, server, user):
    engine = connect("slow", max_concurrency=1)
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(answer(engine, ask(f"q{n}"))[0]))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["q0", "q1", "q2"]
    ends = [entry["event"] for entry in server.entries(user=user) if entry["event"] != "get"]
    assert ends == ["asked", "finished"] * 3


def test_few_shot_turns_and_the_system_message_keep_their_places(connect, server, user):
    examples = [((image(1, 2, 3), TextPart("left?")), "yes"), ((TextPart("right?"),), "no")]
    engine = connect("ok", image_format="png")
    text, _ = answer(engine, ask("and now?", system="Be brief.", examples=examples))
    assert text == "png:64x48:1,2,3 and now?"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ask("x", max_tokens=0), InvalidRequest),
        (ask("x", temperature=-1.0), InvalidRequest),
        (ask("x", choices=("a", "a")), InvalidRequest),
        (ask("x", choices=("a",), json_schema="{}"), InvalidRequest),
        (ask(*[image()] * 17), TooManyFrames),
    ],
)
def test_bad_requests_are_refused_without_asking(connect, server, user, request_, error):
    with pytest.raises(error):
        list(connect("ok").generate(request_))
    assert not server.entries("asked", user)


def test_pixels_that_are_no_image_are_refused(connect):
    wrong = image()
    object.__setattr__(wrong, "pixels", np.zeros((4, 4), np.float32))
    with pytest.raises(InvalidImage, match="float32"):
        list(connect("ok").generate(ask(wrong)))
