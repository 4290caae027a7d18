# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several servers, and further attempts: an answer comes once, from one server."""

import contextlib
import threading
import time

import pytest

from test.engine.openai.conftest import answer, ask
from test.engine.servers.process import ServerProcess
from vila_ros.engine.interface import Stage
from vila_ros.errors import Cancelled, EngineDown, EngineFailed, QueueFull, VilaError

# What a server that hangs is given. One that is well but slow, as on a busy machine, may be cut off
# by it too, so there are attempts to spare.
SHORT = {"first_token_timeout": 0.3, "retries": 30}


def finished(server, user):
    return [entry["prompt"] for entry in server.entries("finished", user)]


@pytest.mark.parametrize(
    "behaviour",
    ["fails*2", "bad_gateway*2", "not_ready*1", "disconnect*2", "too_many*1"],
)
def test_a_passing_failure_is_tried_again(connect, server, user, behaviour):
    text, _ = answer(connect(behaviour), ask("hello"))
    assert text == "hello"
    attempts = int(behaviour[-1]) + 1
    assert len(server.entries("asked", user)) == attempts


def test_a_silence_that_passes_is_tried_again(connect, server, user):
    text, _ = answer(connect("hang*1", **SHORT), ask("hello"))
    assert text == "hello"
    assert len(server.entries("asked", user)) >= 2


def test_attempts_are_bounded(connect, server, user):
    with pytest.raises(EngineFailed, match="HTTP 500"):
        answer(connect("fails", retries=2), ask("hello"))
    assert len(server.entries("asked", user)) == 3


def test_retry_after_is_honoured(connect, server, user):
    engine = connect("too_many*1")
    answer(engine, ask("hello"))
    first, second = server.entries("asked", user)
    assert second["time"] - first["time"] >= 1.0  # as the server asked for


def test_a_wait_beyond_the_deadline_is_not_begun(connect, server, user):
    engine = connect("come_back_in_20_seconds")
    with pytest.raises(QueueFull):  # and not DeadlineExceeded
        answer(engine, ask("hello", deadline=time.monotonic() + 15.0))
    assert len(server.entries("asked", user)) == 1


def test_a_limiting_server_is_left_alone_by_the_next_question_too(connect, server, user):
    engine = connect("come_back_in_20_seconds")
    for _ in range(3):
        with pytest.raises(QueueFull, match="Try again in"):
            answer(engine, ask("hello", deadline=time.monotonic() + 15.0))
    assert len(server.entries("asked", user)) == 1


def test_a_long_wait_says_that_it_goes_on(connect, server, user, monkeypatch):
    monkeypatch.setattr("vila_ros.engine.openai_answer._SLICE", 0.1)
    chunks = list(connect("too_many*1").generate(ask("hello")))  # waits 1 s
    assert len(server.entries("asked", user)) == 2
    assert [chunk.stage for chunk in chunks].count(Stage.ENCODING) > 4


@pytest.mark.parametrize("behaviour", ["half_then_disconnect", "half_then_end", "error_in_stream"])
def test_once_text_has_come_nothing_is_tried_again(connect, server, user, behaviour):
    engine = connect(behaviour, "ok", max_concurrency=1)
    given = []
    for _ in range(2):  # at least one of them meets the server that breaks off
        stream = engine.generate(ask("one two"))
        try:
            given.append("".join(chunk.text for chunk in stream))
        except VilaError:
            given.append("broken off")
    assert "broken off" in given
    asked = [entry["prompt"] for entry in server.entries("asked", user)]
    assert len(asked) == 2


@pytest.mark.parametrize(
    "behaviour", ["fails", "no_access", "disconnect", "hang", "page", "too_many", "no_model"]
)
def test_another_server_steps_in(connect, server, user, behaviour):
    engine = connect(behaviour, "ok", **(SHORT if behaviour == "hang" else {}))
    for number in range(4):
        assert answer(engine, ask(f"q{number}"))[0] == f"q{number}"
    good = [entry for entry in server.entries("finished", user) if "/ok/" in entry["path"]]
    assert [entry["prompt"] for entry in good] == ["q0", "q1", "q2", "q3"]


def in_background(engine, request):
    def run():
        with contextlib.suppress(Cancelled):
            list(engine.generate(request))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_questions_go_where_the_fewest_are_under_way(connect, server, user):
    engine = connect("hang", "ok", first_token_timeout=30.0)
    held = ask("held"), ask("also held")  # one of the two stays with the server that hangs
    threads = [in_background(engine, request) for request in held]
    while not [e for e in server.entries("asked", user) if "/hang/" in e["path"]]:
        time.sleep(0.01)
    while all(thread.is_alive() for thread in threads):
        time.sleep(0.01)  # until the other is answered both servers have one under way
    for number in range(4):
        deadline = time.monotonic() + 15
        assert answer(engine, ask(f"q{number}", deadline=deadline))[0] == f"q{number}"
    for request in held:
        engine.cancel(request.request_id)
    for thread in threads:
        thread.join()


def test_a_failed_server_is_not_asked_again_while_another_one_is_busy_but_well(
    connect, server, user
):
    engine = connect("fails", "slow")
    first = in_background(engine, ask("first"))
    while not [e for e in server.entries("asked", user) if "/slow/" in e["path"]]:
        time.sleep(0.01)
    assert answer(engine, ask("second"))[0] == "second"
    first.join()
    refused = [e["prompt"] for e in server.entries("asked", user) if "/fails/" in e["path"]]
    assert refused.count("second") <= 1


def test_a_server_that_is_too_busy_for_a_check_is_not_given_up(connect, caplog):
    engine = connect("single_minded", check_interval=0.1, check_timeout=0.1)
    caplog.clear()
    assert answer(engine, ask("hello"))[0] == "hello"
    assert "is avoided" not in caplog.text


def test_a_reused_connection_that_turns_out_closed_costs_no_attempt(connect, server, user):
    engine = connect("one_per_connection", retries=0, check_interval=60.0)
    for number in range(3):
        assert answer(engine, ask(f"q{number}"))[0] == f"q{number}"
    assert len(finished(server, user)) == 3


def test_a_server_that_was_killed_is_avoided_and_taken_back(connect, tmp_path, user):
    first, second = (ServerProcess(tmp_path / name) for name in ("first", "second"))
    try:
        engine = connect(servers=[first.url(user=user), second.url(user=user)])
        first.kill()
        for number in range(4):
            assert answer(engine, ask(f"q{number}"))[0] == f"q{number}"
        assert len(second.entries("finished", user)) == 4
        first = ServerProcess(tmp_path / "again", port=first.port)
        second.kill()
        first.wait_for("get")  # the checks in the background go on
        assert answer(engine, ask("back"))[0] == "back"
        assert len(first.entries("finished", user)) == 1
    finally:
        first.kill()
        second.kill()


def test_when_all_are_down_the_error_names_them(connect, tmp_path, user):
    lone = ServerProcess(tmp_path / "log")
    engine = connect(servers=[lone.url(user=user)], retries=1)
    lone.kill()
    with pytest.raises(EngineDown, match=f"127.0.0.1:{lone.port}.*Check that it runs"):
        answer(engine, ask("hello"))


def test_a_connection_that_the_server_closed_is_replaced(connect, tmp_path, user):
    port = None
    for run in range(2):  # the second process does not know the first one's connections
        process = ServerProcess(tmp_path / str(run), port=port or 0)
        try:
            if port is None:
                engine = connect(servers=[process.url(user=user)], check_interval=60.0)
            port = process.port
            assert answer(engine, ask("hello"))[0] == "hello"
        finally:
            process.kill()
