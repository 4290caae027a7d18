# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a question's window to frames."""

from dataclasses import replace

import pytest

from test.perception.messages import START, image_message, plain
from vila_ros.errors import EmptyWindow, InvalidImage
from vila_ros.perception.buffer import BufferLimits, FrameBuffer
from vila_ros.perception.images import thumbnail
from vila_ros.perception.questions import PerceiverDefaults, check_question
from vila_ros.perception.sampling import MAX_CANDIDATES, TOLERANCE_NS
from vila_ros.perception.selection import choose, gather
from vila_ros.perception.types import DropReason, MessageKind, Question, RefusedImage, Sampling

MS = 1_000_000
SECOND = 1000 * MS


def buffer_of(camera: str, times_ms, seconds=1000.0) -> FrameBuffer:
    buffer = FrameBuffer(camera, MessageKind.IMAGE, BufferLimits(seconds=seconds, frames=10_000))
    receive(buffer, times_ms)
    return buffer


def receive(buffer: FrameBuffer, times_ms) -> None:
    for ms in times_ms:
        picture = plain((ms % 251, ms % 241, ms % 239), 2, 2)
        assert buffer.add(image_message(picture, stamp_ns=START + ms * MS), 0) is None


def gathered(buffers, **fields):
    checked = check_question(replace(Question("Q"), **fields), PerceiverDefaults(), buffers, None)
    return checked, gather(checked, buffers, TOLERANCE_NS)


def times(frames) -> list[int]:
    return [(frame.stamp_ns - START) // MS for frame in frames]


def chosen(buffers, **fields):
    checked, window = gathered(buffers, **fields)
    return choose(checked, window, TOLERANCE_NS, thumbnail)


def test_a_window_reaches_back_from_the_newest_frame_of_all_cameras():
    buffers = {
        "front": buffer_of("front", range(0, 10_001, 1000)),
        "left": buffer_of("left", range(500, 8000, 1000)),
    }
    _, window = gathered(buffers, window=3.0)
    assert times(window["front"]) == [7000, 8000, 9000, 10_000]
    assert times(window["left"]) == [7500]


def test_a_camera_silent_since_time_jumped_back_hides_no_other():
    buffers = {
        "front": buffer_of("front", range(0, 10_001, 1000)),
        "rear": buffer_of("rear", [0, 5000]),
    }
    receive(buffers["front"], range(0, 3001, 1000))
    _, window = gathered(buffers, window=2.0)
    assert [times(window[camera]) for camera in buffers] == [[1000, 2000, 3000], []]
    _, window = gathered(buffers, window=2.0, cameras=("rear",))
    assert times(window["rear"]) == [5000]
    receive(buffers["rear"], [3100])
    _, window = gathered(buffers, window=2.0)
    assert [times(window[camera]) for camera in buffers] == [[2000, 3000], [3100]]


def test_a_camera_that_is_late_after_a_jump_moves_no_window():
    buffers = {"front": buffer_of("front", [60_000]), "rear": buffer_of("rear", [60_000])}
    receive(buffers["rear"], [0])
    receive(buffers["front"], range(0, 5001, 1000))
    receive(buffers["rear"], range(1000, 2001, 500))
    _, window = gathered(buffers, window=3.0)
    assert [times(window[camera]) for camera in buffers] == [[2000, 3000, 4000, 5000], [2000]]


def test_nor_does_it_hide_one_that_had_no_frame_before_the_jump():
    buffers = {
        "front": buffer_of("front", [], seconds=10),
        "rear": buffer_of("rear", [3600_000], seconds=10),
    }
    receive(buffers["front"], range(0, 3001, 1000))
    _, window = gathered(buffers, window=2.0)
    assert [times(window[camera]) for camera in buffers] == [[1000, 2000, 3000], []]


def test_a_camera_whose_clock_is_behind_hides_no_other():
    buffers = {camera: buffer_of(camera, [], seconds=10) for camera in ("front", "rear")}
    for ms in range(0, 5001, 1000):
        receive(buffers["front"], [60_000 + ms])
        receive(buffers["rear"], [ms])
    _, window = gathered(buffers, window=2.0)
    assert [times(window[camera]) for camera in buffers] == [[63_000, 64_000, 65_000], []]


def test_an_explicit_window_has_both_ends():
    buffers = {"front": buffer_of("front", range(0, 10_001, 1000))}
    _, window = gathered(buffers, start_ns=START + 2 * SECOND, end_ns=START + 4 * SECOND)
    assert times(window["front"]) == [2000, 3000, 4000]


def test_only_the_cameras_asked_for_are_looked_at():
    buffers = {"front": buffer_of("front", [0]), "left": buffer_of("left", [90_000])}
    _, window = gathered(buffers, cameras=("front",))
    assert list(window) == ["front"]
    assert times(window["front"]) == [0]


def test_an_empty_window_says_what_there_is():
    buffers = {"front": buffer_of("front", [0, 1500]), "left": buffer_of("left", [])}
    with pytest.raises(EmptyWindow) as caught:
        gathered(buffers, start_ns=SECOND, end_ns=2 * SECOND)
    assert caught.value.message == (
        "No frame lies between 1.000 s and 2.000 s: front holds 1000.000 s to 1001.500 s, "
        "left holds no frame; ask for a window within that."
    )
    with pytest.raises(EmptyWindow) as caught:
        gathered(buffers, cameras=("left",))
    assert caught.value.message == (
        "No frame has been received: left holds no frame; see whether the camera publishes."
    )


def test_each_mode_chooses_by_its_own_rule():
    buffers = {"front": buffer_of("front", range(0, 5001, 100))}
    assert times(chosen(buffers, sampling=Sampling.LATEST, max_frames=3)) == [4800, 4900, 5000]
    uniform = times(chosen(buffers, sampling=Sampling.UNIFORM, max_frames=3))
    assert uniform == [0, 2500, 5000]
    keyframes = times(chosen(buffers, sampling=Sampling.KEYFRAMES, max_frames=3))
    assert len(keyframes) == 3
    assert keyframes[-1] == 5000


def test_an_explicit_window_is_spread_from_its_start_to_its_end():
    buffers = {"front": buffer_of("front", range(0, 9001, 100))}
    window = {"start_ns": START + 1300 * MS, "end_ns": START + 7300 * MS}
    frames = chosen(buffers, max_frames=4, **window)
    assert times(frames) == [1300, 3300, 5300, 7300]


def test_for_keyframes_only_what_is_compared_is_held():
    buffers = {"front": buffer_of("front", range(0, 5000, 10))}
    _, window = gathered(buffers, sampling=Sampling.KEYFRAMES)
    assert len(window["front"]) == MAX_CANDIDATES


def test_keyframes_without_a_single_good_frame_say_so():
    buffers = {"front": buffer_of("front", [0, 100])}
    checked, window = gathered(buffers, sampling=Sampling.KEYFRAMES)

    def damaged(frame):
        raise RefusedImage(DropReason.UNDECODABLE, "damaged")

    with pytest.raises(InvalidImage, match="None of the 2 frames of front"):
        choose(checked, window, TOLERANCE_NS, damaged)
