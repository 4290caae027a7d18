# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engine's parts, each by itself: URLs, options, images, messages, streams, errors."""

import asyncio
import base64
import itertools
import json
import logging
import threading
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.engine.openai.conftest import image
from vila_ros.engine.background_loop import BackgroundLoop
from vila_ros.engine.http_connection import parse_server_url
from vila_ros.engine.interface import GenerationRequest, Message, TextPart
from vila_ros.engine.openai_dialect import KINDS, Plan
from vila_ros.engine.openai_errors import Asked, retry_after_seconds, trouble_of_response
from vila_ros.engine.openai_http import OpenAiHttpEngine
from vila_ros.engine.openai_images import ImageEncoder, ImageEncoding
from vila_ros.engine.openai_options import HttpOptions, options_of
from vila_ros.engine.openai_requests import BodyWriter, PromptStyle, check_messages, in_one_turn
from vila_ros.engine.openai_stream import (
    BrokenStream,
    WholeText,
    message_of,
    parse_delta,
    server_sent_events,
)
from vila_ros.errors import EngineDown, InvalidRequest, Unsupported

# --- URLs and options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("http://box:8000", "http://box:8000/v1"),
        ("http://box:8000/", "http://box:8000/v1"),
        ("http://box:8000/v1/", "http://box:8000/v1"),
        ("https://fleet.example/team/openai/v1", "https://fleet.example/team/openai/v1"),
        ("http://[fe80::1]:9/v1", "http://[fe80::1]:9/v1"),
        ("http://box", "http://box/v1"),
    ],
)
def test_a_url_without_a_path_means_v1(text, meant):
    assert str(parse_server_url(text)) == meant


@pytest.mark.parametrize(
    "text",
    ["box:8000", "ftp://box/v1", "http://", "http://box:port/v1", "http://box/v1?key=secret1",
     "http://user:secret1@box/v1", "http://box/v 1", "http://box/\r\nX: y", ""],
)  # fmt: skip
def test_what_is_no_url_of_an_api_is_refused(text):
    with pytest.raises(InvalidRequest):
        parse_server_url(text)


def test_a_password_in_a_url_is_not_repeated():
    with pytest.raises(InvalidRequest, match="api_key_env") as caught:
        parse_server_url("http://user:secret1@box/v1")
    assert "secret1" not in caught.value.message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "No server"),
        ({"servers": []}, "No server"),
        ({"servers": [5]}, "must be texts"),
        ({"servers": "box"}, "must begin with http"),
        ({"servers": ["http://a", "http://a/v1/"]}, "twice.*http://a/v1"),
        ({"servers": "http://a", "colour": 1}, "no option colour"),
        ({"servers": "http://a", "kind": "vlm"}, "kind is 'vlm'"),
        ({"servers": "http://a", "jpeg_quality": 0}, "1 to 100"),
        ({"servers": "http://a", "jpeg_quality": "90"}, "must be int"),
        ({"servers": "http://a", "retries": True}, "must be int"),
        ({"servers": "http://a", "retries": -1}, "not be negative"),
        ({"servers": "http://a", "image_format": "gif"}, "gif"),
        ({"servers": "http://a", "forward_bytes": -1}, "forward_bytes is -1; it must not"),
        ({"servers": "http://a", "stall_timeout": 0}, "above 0 seconds"),
        ({"servers": "http://a", "max_images": 0}, "at least 1"),
        ({"servers": "http://a", "video": "mp4"}, "frames or video_url"),
        ({"servers": "http://a", "vision": "yes"}, "vision"),
    ],
)
def test_each_wrong_option_is_named(options, says):
    with pytest.raises(InvalidRequest, match=says):
        options_of(options)


def test_a_whole_number_is_a_time_and_one_server_needs_no_list():
    options = options_of({"servers": "http://a", "stall_timeout": 3})
    assert (options.servers, options.stall_timeout) == (("http://a",), 3)


def test_https_verifies_certificates(tmp_path):
    context = HttpOptions(servers=("https://a",)).tls()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    (tmp_path / "ca").write_text("not a certificate")
    with pytest.raises(InvalidRequest, match="PEM"):
        HttpOptions(servers=("https://a",), ca_file=str(tmp_path / "ca")).tls()


# --- images -------------------------------------------------------------------------------------


def decoded(data):
    data = np.frombuffer(base64.b64decode(data), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_png_is_lossless_and_jpeg_close():
    pixels = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8), (9, 9), 0
    )
    part = type(image())(pixels)
    for kind, worst in (("png", 0), ("jpeg", 12)):
        encoder = ImageEncoder(ImageEncoding(format=kind))
        ((media,), new) = encoder.encode([part])
        assert new == 1
        assert media.urls[0].startswith(f"data:image/{kind};base64,".encode())
        difference = decoded(media.base64[0]).astype(int) - pixels
        assert np.abs(difference).mean() <= worst
        encoder.close()


def test_images_without_a_key_are_told_apart_by_their_pixels():
    encoder = ImageEncoder(ImageEncoding())
    assert encoder.encode([image(1), image(2), image(1)])[1] == 2
    encoder.close()


def test_the_cache_is_bounded_and_drops_the_oldest():
    size = len(ImageEncoder(ImageEncoding()).encode([image(1)])[0][0].base64[0])
    encoder = ImageEncoder(ImageEncoding(cache_bytes=2 * size + size // 2))
    for key in "abc":
        encoder.encode([image(1, key=key)])
    assert encoder.encode([image(1, key="c"), image(1, key="b")])[1] == 0
    assert encoder.encode([image(1, key="a")])[1] == 1
    encoder.close()


def test_many_threads_encode_an_image_once():
    encoder = ImageEncoder(ImageEncoding())
    part, counts = image(size=(480, 640), key="front@1"), []
    threads = [
        threading.Thread(target=lambda: counts.append(encoder.encode([part])[1])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 1
    encoder.close()


# --- messages -----------------------------------------------------------------------------------


def user(*texts):
    return Message("user", tuple(map(TextPart, texts)))


def assistant(text):
    return Message("assistant", (TextPart(text),))


SYSTEM = Message("system", (TextPart("Be brief."),))


@pytest.mark.parametrize(
    "messages",
    [(), (SYSTEM,), (assistant("a"),), (user("a"), user("b")), (user("a"), assistant("b")),
     (user("a"), SYSTEM, user("b"))],
)  # fmt: skip
def test_messages_out_of_order_are_refused(messages):
    with pytest.raises(InvalidRequest, match="alternating"):
        check_messages(messages)


def test_a_conversation_in_one_turn_keeps_every_part_in_order():
    folded = in_one_turn((SYSTEM, user("left?"), assistant("yes"), user("right?")))
    assert folded.role == "user"
    texts = [part.text for part in folded.parts]
    assert texts == [
        "Be brief.", "Question:", "left?", "Answer:", "yes", "Question:", "right?", "Answer:",
    ]  # fmt: skip


def test_a_single_question_in_one_turn_is_left_as_it_is():
    only = user("left?")
    assert in_one_turn((only,)) is only
    assert [part.text for part in in_one_turn((SYSTEM, only)).parts] == ["Be brief.", "left?"]


def body_of(request, **encoding):
    encoder = ImageEncoder(ImageEncoding(**encoding))
    parts = [part for message in request.messages for part in message.parts]
    media, _ = encoder.encode([part for part in parts if not isinstance(part, TextPart)])
    encoder.close()
    body = BodyWriter("tiny", request, media, PromptStyle()).body(Plan(), None, logprobs=False)
    whole = b"".join(body.pieces)
    assert len(whole) == body.size
    return json.loads(whole)


def test_few_shot_images_stand_in_their_own_turns():
    red, green = image(200, 0, 0), image(0, 200, 0)
    messages = (
        SYSTEM,
        Message("user", (red, TextPart("what?"))),
        assistant("red"),
        Message("user", (TextPart("and"), green, TextPart("this?"))),
    )
    body = body_of(GenerationRequest("1", messages), format="png")
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert body["messages"][0]["content"] == "Be brief."
    kinds = [[part["type"] for part in body["messages"][i]["content"]] for i in (1, 3)]
    assert kinds == [["image_url", "text"], ["text", "image_url", "text"]]
    url = body["messages"][3]["content"][1]["image_url"]["url"]
    assert (decoded(url.partition(",")[2]) == green.pixels).all()


@given(st.text(max_size=200))
def test_any_text_arrives_as_it_is(text):
    message = Message("user", (TextPart(text), image(), TextPart(text)))
    content = body_of(GenerationRequest("1", (message,)))["messages"][0]["content"]
    assert [content[0]["text"], content[2]["text"]] == [text, text]


def test_only_fields_of_the_common_core_are_sent():
    request = GenerationRequest("1", (user("a"),), temperature=0.5, stop=("x",))
    assert set(body_of(request)) == {
        "model", "messages", "stream", "max_tokens", "temperature", "stream_options", "top_p",
        "seed", "stop",
    }  # fmt: skip


# --- what a server is tried with ----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_are_answered_by_plans_that_come_to_an_end(kind):
    forms = KINDS[kind]
    plan = Plan(form=forms[0], left=forms[1:]) if forms else Plan(instruct=True)
    for _ in range(10):
        fields = {"model", "messages", "max_tokens", "temperature", "stream"}
        fields |= {"stream_options", "seed", "top_p"} - plan.without
        following = plan.after_refusal("no", frozenset(fields))
        if following is None:
            break
        assert following != plan
        plan = following
    else:
        pytest.fail("no end")
    assert plan.form is None
    assert plan.instruct


# --- streams ------------------------------------------------------------------------------------


def events(*chunks):
    async def source():
        for chunk in chunks:
            yield chunk

    async def collect():
        return [data async for data in server_sent_events(source())]

    return asyncio.run(collect())


STREAM = ': hi\r\n\r\ndata: {"a": "ü"}\r\n\r\nid: 4\ndata:x\ndata: y\n\nevent: e\n\ndata: last\n'


@given(st.lists(st.integers(0, len(STREAM.encode())), max_size=8))
def test_events_are_the_same_however_the_bytes_are_split(cuts):
    data = STREAM.encode()
    marks = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(marks)]
    assert events(*pieces) == ['{"a": "ü"}', "x\ny", "last"]


@pytest.mark.parametrize(
    "data",
    ["", "{", "[]", "5", '{"a": 1}', '{"choices": 5}', '{"choices": [{"finish_reason": []}]}',
     '{"choices": [{"delta": {"content": 5}}]}', "[" * 100000],
)  # fmt: skip
def test_what_is_no_chunk_is_a_broken_stream(data):
    with pytest.raises(BrokenStream):
        parse_delta(data)


@pytest.mark.parametrize(
    "data",
    ['{"choices": []}', '{"choices": [{}]}', '{"choices": [5]}', '{"choices": [{"delta": null}]}',
             '{"choices": [{"delta": {"content": null}, "logprobs": {"content": [1, {}]}}]}'],
)  # fmt: skip
def test_a_chunk_without_text_is_an_empty_delta(data):
    assert parse_delta(data).text == ""


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.integers(1, 4))
def test_text_is_whole_however_its_surrogates_were_split(text, step):
    units = text.encode("utf-16-le")
    pieces = [units[i : i + 2 * step] for i in range(0, len(units), 2 * step)]
    whole = WholeText()
    given = [whole.add(piece.decode("utf-16-le", "surrogatepass")) for piece in pieces]
    given.append(whole.finish())
    assert "".join(given) == text
    for piece in given:
        piece.encode()  # no half characters


def test_a_lone_surrogate_becomes_the_replacement_character():
    whole = WholeText()
    assert whole.add("a\ud83d") + whole.add("b") + whole.add("\ud83d") + whole.finish() == (
        "a\ufffdb\ufffd"
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"object": "error", "message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "m"}]}, "body.seed: m"),
        ({"error": {"error": {"message": "m"}}}, "m"),
        ({"error": {"code": 5}}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_reason_is_found_wherever_servers_put_it(body, says):
    assert message_of(body) == says


# --- errors -------------------------------------------------------------------------------------

ASKED = Asked("http://box/v1", "tiny", "sk-secret-12345")


@pytest.mark.parametrize(
    "said",
    [
        "tiny is not a multimodal model None",  # vLLM
        "At most 0 image(s) may be provided in one prompt.",  # vLLM
        "image input is not supported - hint: if this is unexpected, provide the mmproj",  # llama
        "Invalid content type. image_url is only supported by certain models.",  # OpenAI
        "This model does not support image input",
        "vision is not enabled",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_models_without_vision_are_recognised_by_what_servers_say(status, said):
    body = json.dumps({"error": {"message": said}}).encode()
    assert isinstance(trouble_of_response(status, {}, body, ASKED).error, Unsupported)


def test_a_key_that_a_server_repeats_is_not_shown():
    body = json.dumps({"error": {"message": f"bad key {ASKED.key} " + "x" * 5000}}).encode()
    for status in (400, 401, 403, 404, 429, 500):
        message = trouble_of_response(status, {}, body, ASKED).error.message
        assert ASKED.key not in message
        assert len(message) < 600


def test_every_status_is_an_error_and_none_escapes():
    for status in (201, 204, 302, 400, 401, 403, 404, 405, 408, 409, 413, 418, 422, 429, 500, 599):
        for body in (b"", b"\xff\xfe", b"<html>", b"[1]", b'{"error": {"message": []}}'):
            assert trouble_of_response(status, {}, body, ASKED).error.message


def test_retry_after_is_seconds_or_a_date():
    later = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert retry_after_seconds({"retry-after": "7"}) == 7
    assert retry_after_seconds({"retry-after": format_datetime(later)}) == pytest.approx(90, abs=5)
    for value in ("", "soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"):
        assert retry_after_seconds({"retry-after": value}) == 0


# --- the loop -----------------------------------------------------------------------------------


def test_a_stopped_loop_takes_no_more_and_cancels_what_ran():
    loop = BackgroundLoop("test")
    loop.stop()
    with pytest.raises(RuntimeError):
        loop.submit(asyncio.sleep(0))
    loop = BackgroundLoop("test")
    loop.start()
    forever = loop.submit(asyncio.sleep(3600))
    loop.stop()
    assert forever.cancelled()


def test_a_key_over_plain_http_to_another_machine_is_warned_of(monkeypatch, caplog):
    monkeypatch.setenv("TEST_KEY", "sk-1")
    options = {"api_key_env": "TEST_KEY", "load_timeout": 0.1, "connect_timeout": 0.1}
    engine = OpenAiHttpEngine("tiny", servers=["http://192.0.2.1:9/v1"], **options)
    with caplog.at_level(logging.WARNING), pytest.raises(EngineDown):
        engine.load()
    assert "unencrypted" in caplog.text
    engine.close()
