# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Files reduced to their pictures: nothing of the picture is lost, and nothing else is kept."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from test.perception.messages import jpeg, png, scene
from test.perception.test_image_files import png_chunk
from vila_ros.perception.image_files import decode_file, inspect_file
from vila_ros.perception.plain_files import plain_file
from vila_ros.perception.types import RefusedImage

SECRET = b"52.5200 N 13.4050 E"
PROFILE = b"a colour profile" * 8


def reduced(data: bytes) -> bytes | None:
    plain = plain_file(data, inspect_file(data))
    return None if plain is None else bytes(plain)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def with_segment(data: bytes, marker: int, body: bytes, before: bytes = b"\xff\xdb") -> bytes:
    """The JPEG with one more segment, before the last marker of that kind."""
    place = data.rindex(before)
    return data[:place] + segment(marker, body) + data[place:]


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()  # the description
    tags[0x0112] = 6  # the orientation: to be turned
    return tags.tobytes()


SCENE = Image.fromarray(scene())
GREY = SCENE.convert("L")


@pytest.mark.parametrize("data", [jpeg(scene()), png(scene()), saved(GREY, "JPEG")])
def test_a_file_that_is_its_picture_alone_is_not_copied(data):
    assert plain_file(data, inspect_file(data)) is data


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("picture", [SCENE, GREY])
def test_a_jpeg_loses_its_metadata_and_keeps_its_picture_and_colours(picture, progressive):
    options = {"quality": 90, "progressive": progressive, "icc_profile": PROFILE}
    data = saved(picture, "JPEG", exif=exif(), comment=SECRET, **options)
    for number in (1, 3, 13):
        data = with_segment(data, 0xE0 + number, b"APP\x00" + SECRET)
    data = with_segment(data, 0xE2, b"MPF\x00" + SECRET)  # where other pictures lie
    plain = reduced(data + b"\xff\xd8" + SECRET)
    assert SECRET not in plain
    assert plain == saved(picture, "JPEG", **options)
    assert (decode_file(plain) == decode_file(data)).all()


def test_a_comment_between_two_scans_goes_as_well():
    options = {"quality": 90, "progressive": True}
    original = saved(SCENE, "JPEG", **options)
    assert reduced(with_segment(original, 0xFE, SECRET, before=b"\xff\xda")) == original


@pytest.mark.parametrize("start", [b"JFIF\x00", b"JFXX\x00"])
def test_a_thumbnail_goes(start):
    thumbnail = start + bytes.fromhex("0102 01 0048 0048 02 02") + SECRET[:12]
    plain = reduced(with_segment(jpeg(scene()), 0xE0, thumbnail))
    assert plain == jpeg(scene())


def test_the_segment_that_says_that_colours_are_rgb_stays():
    # Adobe's segment: without it these three components would be read as YCbCr.
    body = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    without_jfif = jpeg(scene())
    without_jfif = without_jfif[:2] + without_jfif[20:]
    data = with_segment(without_jfif, 0xEE, body)
    assert reduced(data) == data
    assert (decode_file(data) != decode_file(without_jfif)).any()


def test_a_png_loses_its_metadata_and_keeps_its_picture_and_colours():
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Location", SECRET.decode())
    texts.add_itxt("Where", SECRET.decode())
    data = saved(SCENE, "PNG", pnginfo=texts, exif=exif(), icc_profile=PROFILE) + SECRET
    plain = reduced(data)
    assert SECRET not in plain
    assert b"eXIf" not in plain
    assert plain == saved(SCENE, "PNG", icc_profile=PROFILE)
    assert (decode_file(plain) == scene()).all()


def relabelled(frame: int) -> bytes:
    """A JPEG whose frame header has another marker."""
    return jpeg(scene()).replace(b"\xff\xc0", bytes((0xFF, frame)), 1)


def without(data: bytes, marker: int) -> bytes:
    """A JPEG without its segments of that kind."""
    while (place := data.find(bytes((0xFF, marker)))) > 0:
        (length,) = struct.unpack_from(">H", data, place + 2)
        data = data[:place] + data[place + 2 + length :]
    return data


def damaged(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        saved(SCENE.convert("CMYK"), "JPEG"),
        relabelled(0xC9),  # coded arithmetically
        relabelled(0xC3),  # lossless
        without(jpeg(scene()), 0xC4),  # as some cameras' MJPEG, whose tables are understood
        without(jpeg(scene()), 0xDB),
        with_segment(jpeg(scene()), 0xC0, bytes.fromhex("08 0008 0008 03 012200 021101 031101")),
        with_segment(jpeg(scene()), 0xDC, b"\x00\x30"),
        jpeg(scene())[:-2] + b"\xff\xda\x00",
        png(scene().astype(np.uint16) * 257),
        png(np.dstack([scene(), np.full((48, 64), 128, np.uint8)])),
        saved(SCENE.convert("P"), "PNG"),
        saved(SCENE.convert("1"), "PNG"),
        damaged(png(scene()), 60),
        png(scene())[:-12] + png_chunk(b"ABCD", b"") + png(scene())[-12:],
    ],
)
def test_what_decoders_may_read_differently_is_left_to_be_decoded(data):
    try:
        file = inspect_file(data)
    except RefusedImage:
        file = inspect_file(jpeg(scene()))
    assert plain_file(data, file) is None


@given(st.data(), st.sampled_from([jpeg(scene()), saved(SCENE, "JPEG", progressive=True),
                                   png(scene())]))  # fmt: skip
def test_whatever_is_damaged_what_is_given_is_a_whole_file_of_the_same_size(data, original):
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(1, len(changed)))])
    try:
        file = inspect_file(cut)
    except RefusedImage:
        return
    plain = plain_file(cut, file)
    if plain is not None:
        again = inspect_file(plain)
        assert (again.format, again.width, again.height) == (file.format, file.width, file.height)
        assert len(plain) <= len(cut)
