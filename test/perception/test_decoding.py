# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoded once, kept within bytes, reported when damaged."""

import threading

import numpy as np
import pytest

from test.perception.messages import compressed_frame, image_frame, jpeg, plain, png, scene
from vila_ros.engine.interface import EncodedImagePart, EncodedImages, ImagePart
from vila_ros.perception.decoding import ArrayCache, Decoder
from vila_ros.perception.image_files import decode_file
from vila_ros.perception.types import DropReason, RefusedImage


def damaged_png() -> bytes:
    data = bytearray(png(scene()))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


@pytest.fixture
def decoder():
    decoder = Decoder(decoded_bytes=1_000_000)
    yield decoder
    decoder.close()


class TestArrayCache:
    @staticmethod
    def make(size: int):
        return lambda: np.zeros(size, np.uint8)

    def test_what_is_held_is_not_made_again(self):
        cache: ArrayCache[np.ndarray] = ArrayCache(100)
        first = cache.get("a", self.make(10))
        assert cache.get("a", lambda: pytest.fail("made again")) is first

    def test_the_bytes_are_held_and_the_least_used_goes_first(self):
        cache: ArrayCache[np.ndarray] = ArrayCache(100)
        a, b = cache.get("a", self.make(40)), cache.get("b", self.make(40))
        cache.get("a", self.make(40))
        cache.get("c", self.make(40))
        assert cache.bytes == 80
        assert cache.get("a", self.make(40)) is a
        assert cache.get("b", self.make(40)) is not b

    def test_what_is_larger_than_all_of_it_is_not_held(self):
        cache: ArrayCache[np.ndarray] = ArrayCache(100)
        kept = cache.get("small", self.make(100))
        assert cache.get("large", self.make(101)).nbytes == 101
        assert cache.get("small", self.make(1)) is kept
        cache.set_limit(99)
        assert cache.bytes == 0

    def test_a_failure_is_not_held(self):
        cache: ArrayCache[np.ndarray] = ArrayCache(100)

        def fail() -> np.ndarray:
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011
            cache.get("a", fail)
        assert cache.get("a", self.make(1)).nbytes == 1

    def test_threads_share_one_array_and_one_count(self):
        cache: ArrayCache[np.ndarray] = ArrayCache(1000)
        barrier = threading.Barrier(4)

        def make() -> np.ndarray:
            barrier.wait()  # all four make it at once
            return np.zeros(10, np.uint8)

        got: list[np.ndarray] = []
        threads = [
            threading.Thread(target=lambda: got.append(cache.get("a", make))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert cache.bytes == 10
        assert len(got) == 4
        assert all(each is got[0] for each in got)


def test_frames_come_decoded_in_their_order_with_their_keys(decoder):
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    frames = [image_frame(plain(colour), camera=str(colour)) for colour in colours]
    parts = decoder.frames(frames)
    assert [part.key for part in parts] == [frame.key for frame in frames]
    assert [tuple(part.pixels[0, 0]) for part in parts] == colours
    assert decoder.frames([]) == []


def test_a_window_that_slides_decodes_the_new_frame_alone(decoder):
    frames = [compressed_frame(jpeg(scene(seed=i)), camera=str(i)) for i in range(4)]
    before = decoder.frames(frames[:3])
    after = decoder.frames(frames[1:])
    assert [after[i].pixels is before[i + 1].pixels for i in range(2)] == [True, True]
    assert decoder.held_bytes == 4 * before[0].pixels.nbytes


def test_equal_files_have_equal_keys(decoder):
    one, other = jpeg(scene(seed=1)), jpeg(scene(seed=2))
    parts = decoder.files([one, other, bytes(one)])
    assert parts[0].key == parts[2].key != parts[1].key
    assert parts[0].pixels is decoder.files([one])[0].pixels


def test_a_damaged_frame_is_reported_with_its_reason():
    reports = []
    decoder = Decoder(1_000_000, refused=lambda frame, reason: reports.append((frame, reason)))
    good = image_frame(plain((1, 2, 3)))
    bad = compressed_frame(damaged_png(), camera="rear")
    with pytest.raises(RefusedImage, match="Camera 'rear'"):
        decoder.frames([bad, good])
    with pytest.raises(RefusedImage, match="Camera 'rear'"):
        decoder.thumbnail(bad)
    assert reports == [(bad, DropReason.UNDECODABLE)] * 2
    decoder.close()


def test_limits_change_from_the_next_image_on(decoder):
    frame = image_frame(scene(20, 30))
    decoder.frames([frame])
    decoder.set_limits(decoded_bytes=0, max_pixels=599)
    assert decoder.held_bytes == 0
    with pytest.raises(RefusedImage, match="30x20"):
        decoder.frames([frame])


def test_thumbnails_are_kept(decoder):
    frame = compressed_frame(jpeg(scene()))
    assert decoder.thumbnail(frame) is decoder.thumbnail(frame)


class TestFiles:
    """What is made ready for an engine that takes files."""

    WANTED = EncodedImages("image/jpeg", 90, forward_bytes=1_000_000)

    def test_a_camera_s_file_is_given_as_it_came(self, decoder):
        file = jpeg(scene())
        (part,) = decoder.frames([frame := compressed_frame(file)], self.WANTED)
        assert isinstance(part, EncodedImagePart)
        assert (part.media_type, part.width, part.height) == ("image/jpeg", 64, 48)
        assert part.key == frame.key
        assert part.data == file
        assert decoder.held_bytes == 0

    def test_a_file_that_is_attached_is_given_as_it_came(self, decoder):
        file = jpeg(scene())
        (part,) = decoder.files([file], self.WANTED)
        assert part.data is file
        assert part.key == decoder.files([file])[0].key

    @pytest.mark.parametrize(
        ("frame", "wanted"),
        [
            (compressed_frame(png(scene())), WANTED),
            (image_frame(scene()), WANTED),
            (image_frame(scene()[..., ::-1], "bgr8"), WANTED),
            (image_frame(np.pad(scene().reshape(48, 192), ((0, 0), (0, 9))), width=64), WANTED),
            (compressed_frame(jpeg(scene())), EncodedImages(forward_bytes=100)),
            (compressed_frame(jpeg(scene())), EncodedImages()),
        ],
    )
    def test_of_any_other_image_a_file_is_made_and_kept(self, decoder, frame, wanted):
        (part,) = decoder.frames([frame], wanted)
        assert (part.media_type, part.width, part.height) == ("image/jpeg", 64, 48)
        difference = decode_file(part.data).astype(int) - scene()
        assert np.abs(difference).mean() < 6
        assert decoder.held_bytes == len(part.data)
        assert decoder.frames([frame], wanted)[0].data == part.data
        assert decoder.held_bytes == len(part.data)

    def test_what_is_larger_than_the_bound_is_shrunk(self, decoder):
        wanted = EncodedImages(max_side=32, forward_bytes=1_000_000)
        (part,) = decoder.frames([compressed_frame(jpeg(scene()))], wanted)
        assert (part.width, part.height) == (32, 24)
        (part,) = decoder.frames([compressed_frame(jpeg(scene(24, 32)))], wanted)
        assert part.data == jpeg(scene(24, 32))

    def test_a_png_is_given_as_it_came_where_png_is_wanted(self, decoder):
        wanted = EncodedImages("image/png", forward_bytes=1_000_000)
        files = [png(scene(seed=1)), jpeg(scene(seed=2))]
        parts = decoder.frames([compressed_frame(file) for file in files], wanted)
        assert [part.data for part in parts] == files
        assert [part.media_type for part in parts] == ["image/png", "image/jpeg"]

    def test_the_order_holds_whichever_are_given_as_they_came(self, decoder):
        frames = [
            compressed_frame(jpeg(scene(seed=1)), camera="a"),
            image_frame(scene(seed=2), camera="b"),
            compressed_frame(jpeg(scene(seed=3)), camera="c"),
            image_frame(scene(seed=4), camera="d"),
        ]
        parts = decoder.frames(frames, self.WANTED)
        assert [part.key for part in parts] == [frame.key for frame in frames]

    def test_other_engines_get_pixels_of_the_same_frame(self, decoder):
        frame = compressed_frame(jpeg(scene()))
        decoder.frames([frame], EncodedImages())
        (part,) = decoder.frames([frame])
        assert isinstance(part, ImagePart)
        assert part.pixels.shape == (48, 64, 3)

    @pytest.mark.parametrize(
        ("file", "reason"),
        [
            (jpeg(scene())[:-20], DropReason.TRUNCATED),
            (b"GIF89a", DropReason.UNKNOWN_ENCODING),
            (jpeg(scene(480, 640)), DropReason.TOO_MANY_PIXELS),
            (damaged_png(), DropReason.UNDECODABLE),
        ],
    )
    @pytest.mark.parametrize("wanted", [WANTED, EncodedImages("image/png", forward_bytes=10**6)])
    def test_a_broken_frame_is_refused_here_and_reported(self, file, reason, wanted):
        reports = []
        decoder = Decoder(10**6, 10_000, lambda frame, reason: reports.append((frame, reason)))
        bad = compressed_frame(file, camera="rear")
        with pytest.raises(RefusedImage, match="Camera 'rear'"):
            decoder.frames([bad], wanted)
        assert reports == [(bad, reason)]
        decoder.close()
