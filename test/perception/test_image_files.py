# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG files: headers, ends, pixels."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from test.perception.messages import jpeg, plain, png, scene
from vila_ros.errors import ErrorCode, InvalidImage
from vila_ros.perception.image_files import (
    FileFormat,
    ImageFile,
    decode_file,
    decode_file_small,
    inspect_file,
    to_8_bit,
)
from vila_ros.perception.types import DropReason, RefusedImage


def refusal(data, **options):
    with pytest.raises(RefusedImage) as caught:
        decode_file(data, **options)
    assert isinstance(caught.value, InvalidImage)
    assert caught.value.code is ErrorCode.INVALID_IMAGE
    return caught.value


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, rows: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def jpeg_with_size(data: bytes, width: int, height: int) -> bytes:
    """The file with another size in its frame header."""
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    "data",
    [
        jpeg(scene()),
        jpeg(scene(33, 47)),
        jpeg(scene(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        jpeg(scene(), cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        png(scene()),
        png(scene(33, 47)),
        png(np.dstack([scene(), scene()[..., 0]])),
        png(scene()[..., 0]),
    ],
    ids=["jpeg", "odd jpeg", "progressive", "restarts", "png", "odd png", "alpha png", "grey png"],
)
def test_pixels_are_those_that_pillow_decodes(data):
    pixels = decode_file(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, pillow(data))
    assert np.array_equal(decode_file(memoryview(data)), pixels)


def test_grey_jpegs_become_rgb():
    grey = cv2.imencode(".jpg", scene()[..., 0])[1].tobytes()
    assert np.array_equal(decode_file(grey), pillow(grey))


def test_palette_and_interlaced_pngs_are_decoded():
    for options in ({}, {"interlace": True}):
        file = io.BytesIO()
        Image.fromarray(scene()).quantize(16).save(file, "PNG", **options)
        assert np.array_equal(decode_file(file.getvalue()), pillow(file.getvalue()))


def test_sixteen_bits_are_rounded_to_eight():
    deep = np.array([[0, 128, 129, 257, 65535, 65406, 65407, 400]], np.uint16)
    expected = [0, 0, 1, 1, 255, 254, 255, 2]
    assert to_8_bit(deep)[0].tolist() == expected
    assert np.array_equal(
        to_8_bit(np.arange(65536, dtype=np.uint16)), np.rint(np.arange(65536) / 257)
    )
    assert decode_file(png(deep))[0, :, 1].tolist() == expected


def test_the_orientation_of_exif_is_left_alone():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    file = io.BytesIO()
    Image.fromarray(scene(16, 32)).save(file, "JPEG", exif=exif)
    assert decode_file(file.getvalue()).shape == (16, 32, 3)
    assert decode_file_small(file.getvalue()).shape == (2, 4)


def test_headers_are_read_without_decoding():
    assert inspect_file(jpeg(scene(40, 70))) == ImageFile(FileFormat.JPEG, 70, 40, 8)
    assert inspect_file(png(scene(40, 70))) == ImageFile(FileFormat.PNG, 70, 40, 8)
    deep = png(scene(4, 4)[..., 0].astype(np.uint16))
    assert inspect_file(deep) == ImageFile(FileFormat.PNG, 4, 4, 16)


@pytest.mark.parametrize("make", [jpeg, png])
@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_and_never_half_grey(make, part):
    data = make(scene(96, 128))
    error = refusal(data[: int(len(data) * part)])
    assert error.reason is DropReason.TRUNCATED
    assert str(int(len(data) * part)) in error.message


def test_the_end_of_a_thumbnail_inside_does_not_stand_for_the_end():
    whole = jpeg(scene(96, 128))
    thumbnail = jpeg(scene(8, 8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = whole[:2] + segment + whole[2:]
    assert np.array_equal(decode_file(data), decode_file(whole))
    assert refusal(data[:-20]).reason is DropReason.TRUNCATED


def test_a_jpeg_in_a_larger_buffer_is_whole():
    data = jpeg(scene())
    assert np.array_equal(decode_file(data + bytes(100_000)), decode_file(data))
    fills = data[:2] + b"\xff\xff" + data[2:]
    assert np.array_equal(decode_file(fills), decode_file(data))


def test_damage_inside_a_png_is_refused():
    data = bytearray(png(scene()))
    data[len(data) // 2] ^= 0xFF
    assert refusal(bytes(data)).reason is DropReason.UNDECODABLE
    missing_rows = png_of(64, 64, bytes(20 * 193))
    assert refusal(missing_rows).reason is DropReason.UNDECODABLE


@pytest.mark.parametrize(
    "data",
    [
        png_of(100_000, 100_000, bytes(1000)),
        png_of(2**31 - 1, 2**31 - 1),
        jpeg_with_size(jpeg(scene()), 65535, 65535),
    ],
    ids=["png", "largest png", "jpeg"],
)
def test_a_file_that_claims_huge_dimensions_is_refused_before_decoding(data):
    error = refusal(data)
    assert error.reason is DropReason.TOO_MANY_PIXELS
    assert "megapixels; at most 64." in error.message


def test_the_limit_of_pixels_is_a_parameter():
    data = jpeg(scene(48, 64))
    assert decode_file(data, max_pixels=48 * 64).shape == (48, 64, 3)
    error = refusal(data, max_pixels=48 * 64 - 1)
    assert error.reason is DropReason.TOO_MANY_PIXELS
    assert "64x48" in error.message


def test_a_file_without_pixels_is_refused():
    assert refusal(png_of(0, 5)).reason is DropReason.WRONG_SIZE
    assert refusal(jpeg_with_size(jpeg(scene()), 64, 0)).reason is DropReason.WRONG_SIZE


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(40), b"BM" + bytes(60), b"\xff", b"{}"])
def test_other_formats_are_refused_by_their_content(data):
    error = refusal(data)
    assert error.reason is DropReason.UNKNOWN_ENCODING
    assert data[:8].hex(" ") in error.message


def test_empty_data_is_refused():
    assert refusal(b"").reason is DropReason.EMPTY


def test_a_png_whose_chunk_claims_gigabytes_is_refused_before_decoding():
    data = bytearray(png(scene()))
    position = data.index(b"IDAT") - 4
    data[position : position + 4] = struct.pack(">I", 2**31 - 1)
    error = refusal(bytes(data))
    assert error.reason is DropReason.UNDECODABLE
    assert "a chunk claims 2147483647 bytes" in error.message


def test_a_jpeg_of_endless_segments_is_refused_soon():
    data = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 1_000_000 + b"\xff\xd9"
    assert refusal(data).reason is DropReason.TRUNCATED


@given(st.data())
def test_any_damage_gives_pixels_or_a_refusal(draw):
    data = bytearray(draw.draw(st.sampled_from([jpeg(scene(16, 24)), png(scene(16, 24))])))
    for _ in range(draw.draw(st.integers(1, 10))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        pixels = decode_file(bytes(data), max_pixels=1_000_000)
    except RefusedImage:
        return
    assert pixels.ndim == 3
    assert pixels.shape[0] * pixels.shape[1] <= 1_000_000


def test_a_small_picture_shows_the_same():
    for data in (jpeg(plain((10, 200, 30), 80, 80)), png(plain((10, 200, 30), 80, 80))):
        small = decode_file_small(data)
        assert small.ndim == 2
        assert np.abs(small.astype(int) - 124).max() <= 2
    assert decode_file_small(jpeg(scene(80, 160))).shape == (10, 20)
