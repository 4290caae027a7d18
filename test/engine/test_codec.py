# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vila_ros.engine import codec
from vila_ros.engine.interface import (
    Capabilities,
    EncodedImagePart,
    EncodedImages,
    EngineSpec,
    FinishReason,
    GenerationRequest,
    GenerationStats,
    ImagePart,
    Message,
    Part,
    Stage,
    TextChunk,
    TextPart,
    VideoPart,
)
from vila_ros.engine.wire import ProtocolError
from vila_ros.errors import (
    ErrorCode,
    InvalidImage,
    InvalidRequest,
    OutOfMemory,
    PromptTooLong,
    VilaError,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNT = st.integers(0, 2**40)
IMAGES = npst.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.just(3)))
PARTS = st.one_of(
    st.builds(TextPart, st.text()),
    st.builds(ImagePart, IMAGES, st.none() | st.text()),
    st.builds(
        EncodedImagePart,
        data=st.binary(min_size=1, max_size=40),
        media_type=st.sampled_from(["image/jpeg", "image/png"]),
        width=COUNT,
        height=COUNT,
        key=st.none() | st.text(),
    ),
    st.builds(VideoPart, st.lists(IMAGES, max_size=3).map(tuple), st.none() | st.text()),
)
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant"]),
    st.lists(PARTS, max_size=4).map(tuple),
)
REQUESTS = st.builds(
    GenerationRequest,
    request_id=st.text(),
    messages=st.lists(MESSAGES, max_size=3).map(tuple),
    max_tokens=COUNT,
    temperature=FINITE,
    top_p=FINITE,
    seed=COUNT,
    stop=st.lists(st.text(), max_size=2).map(tuple),
    json_schema=st.none() | st.text(),
    choices=st.lists(st.text(), max_size=2).map(tuple),
    deadline=st.none() | FINITE,
)
STATS = st.builds(
    GenerationStats,
    **{
        field.name: COUNT if field.type == "int" else FINITE
        for field in dataclasses.fields(GenerationStats)
    },
)
CHUNKS = st.builds(
    TextChunk,
    text=st.text(),
    tokens=COUNT,
    stage=st.sampled_from(Stage),
    finish_reason=st.none() | st.sampled_from(FinishReason),
    stats=st.none() | STATS,
    choice_probabilities=st.lists(FINITE, max_size=3).map(tuple),
)


def sent(fields: dict[str, Any]) -> Any:
    """Fields as they arrive."""
    return json.loads(json.dumps(fields))


def sent_request(request: GenerationRequest, number: int = 1) -> GenerationRequest:
    fields, pixels = codec.encode_request(request, number)
    payload = np.frombuffer(b"".join(pixels), np.uint8)
    return codec.decode_request(sent(fields), payload)


def plain(part: Part) -> object:
    """A part as something that can be compared."""
    if isinstance(part, TextPart):
        return part.text
    if isinstance(part, ImagePart):
        return ("image", part.key, part.pixels.tolist())
    if isinstance(part, EncodedImagePart):
        return (part.media_type, part.key, part.width, part.height, bytes(part.data))
    return ("video", part.key, [frame.tolist() for frame in part.frames])


def plain_messages(request: GenerationRequest) -> object:
    return [(each.role, [plain(part) for part in each.parts]) for each in request.messages]


@settings(max_examples=50, deadline=None)
@given(request=REQUESTS, number=COUNT)
def test_a_request_arrives_as_it_was(request, number):
    arrived = sent_request(request, number)
    assert plain_messages(arrived) == plain_messages(request)
    for field in dataclasses.fields(GenerationRequest):
        if field.name not in ("messages", "request_id"):
            assert getattr(arrived, field.name) == getattr(request, field.name), field.name
    assert arrived.request_id == f"{request.request_id}#{number}"


def test_the_same_id_given_twice_names_two_requests_in_the_worker():
    request = GenerationRequest("again", ())
    assert sent_request(request, 1).request_id != sent_request(request, 2).request_id


def test_contiguous_pixels_are_not_copied():
    pixels = np.zeros((4, 6, 3), np.uint8)
    request = GenerationRequest("", (Message("user", (ImagePart(pixels),)),))
    _, (buffer,) = codec.encode_request(request, 1)
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), pixels)


def test_a_file_is_not_copied():
    data = memoryview(bytes(100))[10:20]
    part = EncodedImagePart(data, "image/jpeg", 4, 4)
    _, (buffer,) = codec.encode_request(GenerationRequest("", (Message("user", (part,)),)), 1)
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), np.frombuffer(data, np.uint8))


def test_pixels_that_are_a_view_arrive_as_they_look():
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)[::2, ::-1]
    request = GenerationRequest("", (Message("user", (ImagePart(pixels),)),))
    arrived = sent_request(request).messages[0].parts[0]
    assert np.array_equal(arrived.pixels, pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 6, 3), np.float32),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        "a path",
    ],
)
def test_what_is_no_image_is_refused_with_its_type_and_shape(pixels):
    request = GenerationRequest("", (Message("user", (ImagePart(pixels),)),))
    shape = str(np.shape(pixels)).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(InvalidImage, match=f"of shape {shape}; uint8 of shape"):
        codec.encode_request(request, 1)


@settings(max_examples=50, deadline=None)
@given(chunk=CHUNKS)
def test_a_chunk_arrives_as_it_was(chunk):
    assert codec.decode_chunk(sent(codec.encode_chunk(chunk, 7))) == chunk


def test_capabilities_and_specs_arrive_as_they_were():
    plain = Capabilities("m", "torch", "cpu", "float32", 8, 196, 4096, video=True)
    with_files = replace(plain, encoded_images=EncodedImages("image/png", 80, 1024, 10**6))
    for each in (plain, with_files):
        assert codec.decode_capabilities(sent(codec.encode_capabilities(each))) == each
    spec = EngineSpec(
        "torch", "folder", {"dtype": "bfloat16", "threads": 2, "nested": {"a": [1.5]}}
    )
    assert codec.decode_spec(sent(codec.encode_spec(spec))) == spec


def test_options_that_are_not_json_are_refused_by_name():
    with pytest.raises(InvalidRequest, match=r"options of engine 'torch' must be JSON values.*set"):
        codec.encode_spec(EngineSpec("torch", "m", {"layers": {1, 2}}))


@pytest.mark.parametrize(
    "error", [OutOfMemory("no room"), PromptTooLong("9 > 8"), VilaError("bug")]
)
def test_an_error_keeps_its_type_and_message(error):
    arrived = codec.decode_error(sent(codec.encode_error(error)))
    assert type(arrived) is type(error)
    assert arrived.message == error.message


@pytest.mark.parametrize("code", [ErrorCode.NONE, 12345])
def test_a_code_that_means_nothing_is_an_internal_error(code):
    assert codec.decode_error({"code": int(code), "message": "?"}).code is ErrorCode.INTERNAL


PIXELS = ImagePart(np.zeros((2, 2, 3), np.uint8))
GOOD = sent(codec.encode_request(GenerationRequest("r", (Message("user", (PIXELS,)),)), 1)[0])


_PART = EncodedImagePart(bytes(13), "image/jpeg", 4, 4)
_ASKED = codec.encode_request(GenerationRequest("r", (Message("user", (_PART,)),)), 1)[0]
FILE_OF_13 = {"messages": sent(_ASKED)["messages"]}


@pytest.mark.parametrize(
    ("changed", "size", "says"),
    [
        ({"max_tokens": "9"}, 12, "'max_tokens' is a str, not a int"),
        ({"max_tokens": True}, 12, "'max_tokens' is a bool"),
        ({"temperature": 10**400}, 12, "'temperature'"),
        ({"messages": {}}, 12, "'messages' is a dict"),
        ({"messages": [3]}, 12, "'messages' is a int"),
        ({"messages": [{"role": "robot", "parts": []}]}, 0, "role is 'robot'"),
        ({"messages": [{"role": "user", "parts": [{}]}]}, 0, "lacks the field 'video'"),
        ({}, 11, "2x2 pixels does not fit the message's payload of 11 bytes"),
        ({}, 13, "1 bytes of a message's payload belong to no image"),
        ({"messages": [{"role": "user", "parts": [{"image": [[2]]}]}]}, 12, "not .height, width."),
        ({"messages": [{"role": "user", "parts": [{"image": [[-2, -2]]}]}]}, 12, "does not fit"),
        ({"messages": [{"role": "user", "parts": [{"image": []}]}]}, 0, "holds 0 images"),
        (FILE_OF_13, 12, "An image file of 13 bytes does not fit the message's payload of 12"),
        (FILE_OF_13, 14, "1 bytes of a message's payload belong to no image"),
        ({"stop": [1]}, 12, "'stop' is a int"),
    ],
)
def test_bad_requests_say_what_is_wrong(changed, size, says):
    with pytest.raises(ProtocolError, match=says):
        codec.decode_request(GOOD | changed, np.zeros(size, np.uint8))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(GOOD)), value=JSON, size=st.integers(0, 30))
def test_no_request_does_worse_than_a_protocol_error(name, value, size):
    try:
        request = codec.decode_request(GOOD | {name: value}, np.zeros(size, np.uint8))
    except ProtocolError:
        return
    assert isinstance(request, GenerationRequest)


@settings(max_examples=300, deadline=None)
@given(
    fields=st.dictionaries(
        st.sampled_from(sorted(f.name for f in dataclasses.fields(TextChunk))), JSON
    )
)
def test_no_chunk_does_worse_than_a_protocol_error(fields):
    try:
        chunk = codec.decode_chunk(fields)
    except ProtocolError:
        return
    assert isinstance(chunk, TextChunk)
