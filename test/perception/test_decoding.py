# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decoded once, kept within bytes, reported when damaged."""

import threading

import numpy as np
import pytest

from test.perception.messages import compressed_frame, image_frame, jpeg, plain, png, scene
from vila_ros.perception.decoding import ArrayCache, Decoder
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
