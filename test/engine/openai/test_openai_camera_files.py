# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras asked about through a real server: which bytes of theirs reach it."""

import hashlib

import pytest

from test.doubles import EchoEngine
from test.engine.openai.conftest import QUICK, answer, ask
from test.perception.messages import (
    START,
    compressed_message,
    image_message,
    jpeg,
    plain,
    png,
    scene,
)
from test.perception.test_plain_files import SCENE, SECRET, exif, saved
from vila_ros.engine.interface import EncodedImagePart, EncodedImages, EngineSpec
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import InvalidImage
from vila_ros.perception.buffer import FrameBuffer
from vila_ros.perception.perceiver import Perceiver
from vila_ros.perception.types import Example, MessageKind, Question, Sampling

JPEG = jpeg(scene())
MS = 1_000_000


def fingerprint(file):
    return hashlib.sha256(file).hexdigest()


def camera(*files, kind=MessageKind.COMPRESSED_IMAGE):
    """A camera that has sent these, 100 ms apart: files, or pixels where it is a raw one."""
    buffer = FrameBuffer("front", kind)
    message = image_message if kind is MessageKind.IMAGE else compressed_message
    for index, file in enumerate(files):
        assert buffer.add(message(file, stamp_ns=START + index * 100 * MS), 0) is None
    return buffer


@pytest.fixture
def look():
    """look(engine, camera, …): the answer to a question about what the camera saw."""
    perceivers = []

    def look(engine, buffer, **question):
        perceivers.append(Perceiver({"front": buffer}, engine))
        return perceivers[-1].ask(Question("what is here", **question))

    yield look
    for perceiver in perceivers:
        perceiver.close()


def test_what_the_camera_sent_is_what_the_server_gets(connect, look):
    files = [jpeg(scene(seed=seed)) for seed in range(3)]
    answer = look(connect("fingerprints"), camera(*files))
    assert answer.error is None
    assert answer.text.split() == [fingerprint(file) for file in files]


def test_so_it_is_through_the_engine_s_process(server, user, look):
    spec = EngineSpec(
        "openai_http", "tiny", {"servers": [server.url("fingerprints", user)], **QUICK}
    )
    engine = SupervisedEngine(spec)
    try:
        engine.load()
        files = [jpeg(scene(seed=seed)) for seed in range(3)]
        assert look(engine, camera(*files)).text.split() == [fingerprint(file) for file in files]
    finally:
        engine.close()


def test_what_is_beside_the_picture_stays_on_the_robot(connect, look):
    data = saved(SCENE, "JPEG", quality=90, exif=exif(), comment=SECRET)
    assert SECRET in data
    answer = look(connect("fingerprints"), camera(data))
    assert answer.text == fingerprint(saved(SCENE, "JPEG", quality=90))


def test_attached_files_and_those_of_examples_are_sent_as_they_are(connect, look):
    first, second = jpeg(scene(seed=1)), jpeg(scene(seed=2))
    examples = (Example((first,), "what is here", "a wall"),)
    answer = look(
        connect("fingerprints"),
        camera(),
        sampling=Sampling.NONE,
        images=(second,),
        examples=examples,
    )
    assert answer.text.split() == [fingerprint(first), fingerprint(second)]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, "jpeg:64x48:"),
        ({"max_image_side": 32}, "jpeg:32x24:"),
        ({"max_image_side": 32, "image_format": "png"}, "png:32x24:"),
        ({"forward_bytes": len(JPEG) - 1, "image_format": "png"}, "png:64x48:"),
        ({"forward_bytes": len(JPEG), "image_format": "png"}, "jpeg:64x48:"),
    ],
)
def test_a_file_beyond_the_bounds_is_made_anew(connect, look, options, sent):
    answer = look(connect("ok", **options), camera(JPEG))
    assert answer.text.split()[0].startswith(sent)


def test_a_png_is_made_a_jpeg_unless_png_is_wanted(connect, look):
    file = png(scene())
    assert look(connect("ok"), camera(file)).text.startswith("jpeg:64x48:")
    assert look(connect("fingerprints", image_format="png"), camera(file)).text == fingerprint(file)


def test_a_raw_camera_s_pixels_arrive(connect, look):
    pixels = [plain(colour, 48, 64) for colour in ((200, 0, 0), (0, 0, 200))]
    engine = connect("ok", image_format="png")
    answer = look(engine, camera(*pixels, kind=MessageKind.IMAGE))
    assert answer.text.split()[:2] == ["png:64x48:200,0,0", "png:64x48:0,0,200"]


def test_a_frame_that_is_known_is_not_encoded_again(connect, look):
    engine, buffer = connect("ok"), camera(*[jpeg(scene(seed=seed)) for seed in range(3)])
    stats = [look(engine, buffer).stats for _ in range(2)]
    assert [(each.images_encoded, each.images_cached) for each in stats] == [(3, 0), (0, 3)]


def test_a_broken_file_is_refused_before_the_server_is_asked(connect, server, user, look):
    broken = png(scene())  # inside, which is seen only when it is looked at
    broken = broken[:60] + bytes((broken[60] ^ 1,)) + broken[61:]
    answer = look(connect("ok", image_format="png"), camera(broken))
    assert isinstance(answer.error, InvalidImage)
    assert "Camera 'front', frame of 1000.000 s: The PNG of 64x48 cannot be decoded" in str(
        answer.error
    )
    truncated = look(connect("ok"), camera(), sampling=Sampling.NONE, images=(JPEG[:-9],))
    assert "arrived incomplete" in str(truncated.error)
    assert not server.entries("asked", user)


def test_an_engine_that_takes_pixels_gets_them(look):
    engine = EchoEngine("echo")
    assert engine.load().encoded_images is None
    assert ":64x48:#" in look(engine, camera(JPEG)).text


def test_the_engine_says_how_it_takes_files(connect):
    engine = connect("ok", jpeg_quality=80, max_image_side=1024, forward_bytes=10**6)
    assert engine.capabilities.encoded_images == EncodedImages("image/jpeg", 80, 1024, 10**6)


@pytest.mark.parametrize(
    "part",
    [
        EncodedImagePart(JPEG, "image/jpeg", 65, 48),
        EncodedImagePart(JPEG, "image/png", 64, 48),
        EncodedImagePart(JPEG, 'image/gif;base64,"', 64, 48),
        EncodedImagePart(b"", "image/jpeg", 64, 48),
        EncodedImagePart(JPEG, "image/jpeg", 64, 0),
    ],
)
def test_a_file_that_it_does_not_take_is_refused(connect, server, user, part):
    engine = connect("ok", max_image_side=64)
    with pytest.raises(InvalidImage, match="Give its pixels instead"):
        answer(engine, ask(part, "what"))
    assert not server.entries("asked", user)
