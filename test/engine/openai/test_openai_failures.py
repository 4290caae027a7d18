# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Each way a server fails is one clear error, and none is waited for longer than was said."""

import logging
import socket
from pathlib import Path

import numpy as np
import pytest

from test.engine.openai.conftest import answer, ask, image
from test.engine.servers.process import ServerProcess
from vila_ros.engine.interface import ImagePart
from vila_ros.errors import (
    EngineDown,
    EngineFailed,
    InvalidRequest,
    OutOfMemory,
    PromptTooLong,
    QueueFull,
    TooManyFrames,
    Unsupported,
)

# How long each kind of silence is waited for; others are not cut short, for a machine may be busy.
PATIENCE = {
    "hang": {"first_token_timeout": 0.3},
    "trickle": {"first_token_timeout": 0.3},
    "half_then_silence": {"stall_timeout": 0.3},
    "half_then_comments": {"stall_timeout": 0.3},
    "half_then_empty_events": {"stall_timeout": 0.3},
}


@pytest.mark.parametrize(
    ("behaviour", "error", "says"),
    [
        ("page", EngineFailed, "web page"),
        ("page_not_found", EngineFailed, "web page"),
        ("no_access", EngineFailed, "HTTP 401.*api_key_env"),
        ("no_model", EngineFailed, "does not serve model 'tiny'"),
        ("no_path", EngineFailed, "ends in /v1"),
        ("redirect", EngineFailed, "redirects to"),
        ("no_vision", Unsupported, "takes no images.*Serve a model with vision"),
        ("one_image", TooManyFrames, "At most 1 image"),
        ("too_long", PromptTooLong, "64 tokens"),
        ("too_many", QueueFull, "HTTP 429.*rate limit"),
        ("come_back_in_an_hour", QueueFull, "Try again in 3600 s"),
        ("fails", EngineFailed, "HTTP 500.*division by zero"),
        ("bad_gateway", EngineDown, "HTTP 502"),
        ("not_ready", EngineDown, "model is loading"),
        ("disconnect", EngineDown, "broke off"),
        ("half_then_disconnect", EngineDown, "broke off"),
        ("half_then_end", EngineDown, "ended without saying so"),
        ("half_then_silence", EngineDown, "stopped in the middle.*stall_timeout"),
        ("half_then_comments", EngineDown, "stopped in the middle.*stall_timeout"),
        ("half_then_empty_events", EngineDown, "stopped in the middle.*stall_timeout"),
        ("hang", EngineDown, "did not begin to answer.*first_token_timeout"),
        ("trickle", EngineDown, "did not begin to answer.*first_token_timeout"),
        ("error_in_stream", OutOfMemory, "CUDA out of memory"),
        ("endless", EngineFailed, "exceeds 1048576 characters"),
        ("giant_event", EngineFailed, "exceeds 1048576 bytes"),
        ("giant_error", InvalidRequest, "HTTP 400"),
        ("broken_json", EngineFailed, "not JSON"),
        ("not_utf8", EngineFailed, "not UTF-8"),
        ("wrong_types", EngineFailed, "has no text"),
        ("not_http", EngineFailed, "not HTTP"),
        ("compressed", EngineFailed, "compressed"),
    ],
)
def test_each_failure_is_one_clear_error(connect, server, behaviour, error, says):
    engine = connect(behaviour, retries=1, **PATIENCE.get(behaviour, {}))
    with pytest.raises(error, match=says) as caught:
        answer(engine, ask(image(), image(), "what?"))
    assert type(caught.value) is error
    assert str(server.port) in caught.value.message  # which server it was
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("behaviour", "error", "says"),
    [
        ("always-page", EngineFailed, "web page"),
        ("always-no_access", EngineFailed, "HTTP 401"),
        ("always-redirect", EngineFailed, "redirects"),
        ("always-no_model", EngineFailed, "does not serve model"),
        ("always-hang", EngineDown, "check_timeout|did not answer within"),
        ("always-not_ready", EngineDown, "model is loading"),
    ],
)
def test_what_can_be_told_at_start_is_told_at_start(connect, behaviour, error, says):
    # Where a server is down it is waited for, and asked once at least.
    patience = {"load_timeout": 0.3} if error is EngineDown else {}
    if behaviour == "always-hang":
        patience["check_timeout"] = 0.3
    engine = connect(behaviour, load=False, **patience)
    with pytest.raises(error, match=says):
        engine.load()
    assert engine.capabilities is None


def test_a_server_that_is_not_there_is_waited_for_and_named(connect):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        engine = connect(servers=[url], load=False, load_timeout=0.3)
        with pytest.raises(EngineDown, match=r"Connection refused.*Check that it runs"):
            engine.load()


def test_a_server_that_comes_up_later_is_found(connect, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    engine = connect(servers=[f"http://127.0.0.1:{port}/ok/late/v1"], load=False)
    late = ServerProcess(tmp_path / "log", port=port)
    try:
        assert engine.load().model == "tiny"
    finally:
        late.kill()


def test_a_refusal_that_comes_before_the_request_is_sent_is_heard(connect):
    # More than the system's own buffers take, so that the sending cannot end before the refusal.
    noise = ImagePart(np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), np.uint8))
    engine = connect("reply_early", image_format="png", retries=0)
    with pytest.raises(InvalidRequest, match=r"HTTP 413.*max_image_side"):
        answer(engine, ask(*[noise] * 6, "what?"))


@pytest.mark.parametrize("behaviour", ["always-no_vision", "always-drops_images"])
def test_a_model_without_vision_answers_text_and_refuses_images(connect, server, user, behaviour):
    engine = connect(behaviour)
    assert engine.capabilities.max_images == 0
    assert answer(engine, ask("hello"))[0] == "hello"
    with pytest.raises(Unsupported, match="Serve a model with vision"):
        answer(engine, ask(image(), "what?"))
    assert len(server.entries("asked", user)) == 1


def test_vision_can_be_vouched_for(connect):
    engine = connect("always-drops_images", vision=True)
    assert answer(engine, ask(image(), "what?"))[0] == "what?"


@pytest.mark.parametrize("behaviour", ["always-no_access", "no_access", "fails", "ok"])
def test_the_key_goes_to_the_server_and_nowhere_else(
    connect, server, user, behaviour, monkeypatch, caplog, capfd
):
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("TEST_KEY", key)
    caplog.set_level(logging.DEBUG)
    engine = connect(behaviour, load=False, api_key_env="TEST_KEY", retries=0)
    said = []
    try:
        engine.load()
        said.append(answer(engine, ask("hello"))[0])
    except EngineFailed as error:
        said += [error.message, repr(error)]
    assert all(entry["authorization"] == f"Bearer {key}" for entry in server.entries(user=user)
               if "authorization" in entry)  # fmt: skip
    assert server.entries(user=user, probes=True)
    said += [repr(engine), repr(vars(engine)), caplog.text, *capfd.readouterr()]
    assert not [text for text in said if key in text]


def test_the_key_does_not_follow_a_redirect(connect, tmp_path, user, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-very-secret-0123456789")
    other = ServerProcess(tmp_path / "other")
    first = ServerProcess(tmp_path / "first", elsewhere=f"http://127.0.0.1:{other.port}")
    try:
        engine = connect(servers=[first.url("redirect", user)], api_key_env="TEST_KEY")
        with pytest.raises(EngineFailed, match=f"redirects to .*127.0.0.1:{other.port}"):
            answer(engine, ask("hello"))
        assert other.entries() == []
    finally:
        first.kill()
        other.kill()


def test_an_expired_key_says_what_to_do(connect, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "sk-expired-0123456789")
    engine = connect("no_access", api_key_env="TEST_KEY")
    with pytest.raises(EngineFailed, match="expired; renew it in the environment variable"):
        answer(engine, ask("hello"))


@pytest.mark.parametrize("value", [None, "", "two words", "line\nbreak", "ключ"])
def test_a_key_that_cannot_be_is_refused_without_showing_it(connect, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("TEST_KEY", raising=False)
    else:
        monkeypatch.setenv("TEST_KEY", value)
    engine = connect("ok", load=False, api_key_env="TEST_KEY")
    with pytest.raises(EngineFailed, match="TEST_KEY") as caught:
        engine.load()
    assert not value or value not in caught.value.message


def test_certificates_are_verified(connect, tmp_path, user):
    name = Path(__file__).parents[2] / "data" / "tls" / "loopback"
    secure = ServerProcess(tmp_path / "log", tls=name)
    try:
        untrusting = connect(servers=[secure.url(user=user)], load=False, load_timeout=0.1)
        with pytest.raises(EngineDown, match=r"not trusted.*ca_file"):
            untrusting.load()
        assert secure.entries(probes=True) == []
        trusting = connect(servers=[secure.url(user=user)], ca_file=f"{name}.pem")
        assert answer(trusting, ask(image(), "what?"))[0].endswith(" what?")
    finally:
        secure.kill()


def test_a_question_before_loading_is_engine_down(connect):
    with pytest.raises(EngineDown, match="not been loaded"):
        answer(connect("ok", load=False), ask("x"))


def test_the_same_id_twice_is_refused(connect):
    engine = connect("hang")
    request = ask("x")
    stream = engine.generate(request)
    with pytest.raises(InvalidRequest, match="already in flight"):
        engine.generate(request)
    stream.close()
