# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames are shown; times in milliseconds after START."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test.perception.messages import START
from vila_ros.perception.sampling import (
    MAX_CANDIDATES,
    align,
    candidates,
    sample_keyframes,
    sample_latest,
    sample_uniform,
)
from vila_ros.perception.types import Frame, MessageKind

MS = 1_000_000


def frames(camera: str, times: list[int]) -> list[Frame]:
    return [Frame(camera, START + ms * MS, "", MessageKind.IMAGE, b"") for ms in times]


def cameras(**times) -> dict[str, list[Frame]]:
    return {camera: frames(camera, list(each)) for camera, each in times.items()}


def shown(chosen: list[Frame]) -> list[tuple[str, int]]:
    return [(frame.camera, (frame.stamp_ns - START) // MS) for frame in chosen]


def times(chosen: list[Frame]) -> list[int]:
    return [ms for _, ms in shown(chosen)]


def uniform(given_cameras, budget, window_ms, anchor_ms=0, **options):
    return sample_uniform(given_cameras, budget, window_ms * MS, START + anchor_ms * MS, **options)


class TestLatest:
    def test_the_newest_frames_oldest_first(self):
        assert times(sample_latest(cameras(front=range(0, 500, 100)), 3)) == [200, 300, 400]

    def test_the_budget_is_shared_and_the_first_camera_gets_the_rest(self):
        two = cameras(front=[0, 100, 200], left=[10, 110, 210])
        assert shown(sample_latest(two, 3)) == [("front", 100), ("front", 200), ("left", 210)]

    def test_what_one_camera_lacks_goes_to_the_others(self):
        two = cameras(front=[5], left=[0, 10, 20, 30], rear=[])
        assert shown(sample_latest(two, 4)) == [
            ("front", 5), ("left", 10), ("left", 20), ("left", 30),
        ]  # fmt: skip
        assert len(sample_latest(two, 99)) == 5
        assert sample_latest(cameras(front=[]), 3) == []


class TestUniform:
    def test_frames_are_evenly_spread_and_the_newest_is_among_them(self):
        ten_hertz = cameras(front=range(0, 5001, 100))
        assert times(uniform(ten_hertz, 6, 5000)) == [0, 1000, 2000, 3000, 4000, 5000]
        assert times(uniform(ten_hertz, 2, 5000)) == [0, 5000]
        assert times(uniform(ten_hertz, 1, 5000)) == [5000]

    def test_a_window_that_slides_keeps_its_frames(self):
        """All but the newest, and one at the other end, are those of the step before."""
        kept = []
        before: set[int] = set()
        for newest in range(10_000, 12_000, 100):
            now = set(times(uniform(cameras(front=range(newest - 5000, newest + 1, 100)), 8, 5000)))
            kept.append(len(now & before))
            before = now
        assert min(kept[1:]) >= 6 - 1
        assert np.mean(kept[1:]) > 6

    @given(st.integers(5000, 20_000), st.integers(2, 10))
    def test_neighbours_are_never_much_nearer_or_farther_than_evenly(self, newest, budget):
        chosen = times(uniform(cameras(front=range(newest - 5000, newest + 1, 10)), budget, 5000))
        period = 5000 / (budget - 1)
        gaps = np.diff(chosen)
        assert len(chosen) == budget
        assert chosen[-1] >= newest - 10
        assert gaps.min() >= period / 2 - 15
        assert gaps.max() <= period * 1.5 + 15

    def test_a_window_that_is_not_filled_yet_is_spread_over_what_there_is(self):
        front = cameras(front=range(0, 1001, 100))
        assert times(uniform(front, 3, 60_000)) == [0, 500, 1000]
        assert times(uniform(front, 4, 60_000)) == [0, 300, 700, 1000]

    def test_an_explicit_window_starts_at_its_start(self):
        chosen = uniform(cameras(front=range(1030, 4031, 10)), 4, 3000, anchor_ms=1030)
        assert times(chosen) == [1030, 2030, 3030, 4030]

    def test_fewer_frames_than_the_budget_are_all_shown(self):
        assert times(uniform(cameras(front=[0, 10, 5000]), 8, 5000)) == [0, 10, 5000]
        assert uniform(cameras(front=[]), 8, 5000) == []

    def test_what_the_grid_leaves_goes_to_the_frames_farthest_apart(self):
        bursts = cameras(front=[0, 10, 20, 30, 5000])
        assert times(uniform(bursts, 3, 5000)) == [0, 30, 5000]

    def test_cameras_are_shown_at_common_instants(self):
        two = cameras(front=range(0, 4001, 100), left=range(7, 4001, 100))
        assert shown(uniform(two, 6, 4000)) == [
            ("front", 0), ("left", 7),
            ("front", 2000), ("left", 2007),
            ("left", 3907), ("front", 4000),
        ]  # fmt: skip

    def test_a_rest_of_the_budget_is_given_to_single_frames(self):
        three = cameras(
            front=range(0, 4001, 1000), left=range(0, 4001, 1000), rear=range(0, 4001, 1000)
        )
        chosen = shown(uniform(three, 8, 4000))
        assert len(chosen) == 8
        assert {camera for camera, ms in chosen if ms == 4000} == {"front", "left", "rear"}
        assert [ms for camera, ms in chosen if camera == "front"] == [0, 2000, 4000]
        assert [ms for camera, ms in chosen if camera == "rear"] == [0, 4000]

    def test_what_a_stopped_camera_leaves_pays_for_more_instants(self):
        two = cameras(front=range(0, 4001, 100), left=[0])
        assert shown(uniform(two, 5, 4000)) == [
            ("front", 0), ("left", 0), ("front", 1300), ("front", 2700), ("front", 4000),
        ]  # fmt: skip


class TestAlign:
    def test_the_slower_camera_gives_the_instants(self):
        two = cameras(front=range(0, 1001, 33), left=range(0, 1001, 250))
        instants = align(two, 20 * MS)
        assert [len(instant.frames) for instant in instants] == [2] * 5
        assert shown(instants[1].frames) == [("front", 264), ("left", 250)]
        assert shown(instants[-1].frames) == [("front", 990), ("left", 1000)]

    def test_frames_beyond_the_tolerance_are_of_no_common_instant(self):
        two = cameras(front=[0, 1000, 2000], left=[1004])
        instants = align(two, 5 * MS)
        assert [shown(instant.frames) for instant in instants] == [
            [("front", 0)], [("front", 1000), ("left", 1004)], [("front", 2000)],
        ]  # fmt: skip

    def test_a_camera_that_stopped_does_not_hold_the_others_back(self):
        two = cameras(front=range(0, 5001, 100), left=range(0, 1001, 100))
        instants = align(two)
        assert len(instants) == 51
        assert instants[-1].stamp_ns == START + 5000 * MS
        assert shown(instants[-1].frames) == [("front", 5000)]
        assert shown(instants[10].frames) == [("front", 1000), ("left", 1000)]

    def test_the_last_instant_has_the_newest_frame_of_each(self):
        instants = align(cameras(front=range(0, 2001, 50), left=[0, 900, 1800]))
        assert shown(instants[-1].frames) == [("front", 2000), ("left", 1800)]

    def test_what_only_a_stopped_camera_saw_has_its_own_instants(self):
        two = cameras(front=range(3000, 5001, 100), left=[0, 100, 3050])
        instants = align(two)
        assert [shown(instant.frames) for instant in instants[:2]] == [
            [("left", 0)], [("left", 100)],
        ]  # fmt: skip

    def test_a_faster_camera_that_stopped_adds_no_instants_between_the_others(self):
        two = cameras(front=range(0, 5001, 100), left=range(0, 2001, 33))
        assert len(align(two)) == 51

    def test_nothing_gives_nothing(self):
        assert align({}) == []
        assert align(cameras(front=[], left=[])) == []


def grey(level: int) -> np.ndarray:
    return np.full((24, 32), level, np.uint8)


class Pictures:
    """Thumbnails by time, counting how often they are made."""

    def __init__(self, levels: dict[int, int | None]) -> None:
        self.levels = levels
        self.made: list[int] = []

    def __call__(self, frame: Frame) -> np.ndarray | None:
        (ms,) = times([frame])
        self.made.append(ms)
        level = self.levels.get(ms, 0)
        return None if level is None else grey(level)


class TestKeyframes:
    def test_frames_where_the_picture_changed_most(self):
        front = cameras(front=range(0, 1000, 100))
        levels = dict.fromkeys(range(0, 300, 100), 0) | {300: 200, 400: 200, 500: 90}
        levels |= dict.fromkeys(range(600, 1000, 100), 91)
        chosen = times(sample_keyframes(front, 3, Pictures(levels)))
        assert chosen[-1] == 900
        assert {levels[ms] for ms in chosen} == {0, 200, 91}

    def test_pictures_that_are_all_alike_are_spread_over_time(self):
        front = cameras(front=range(0, 1001, 100))
        assert times(sample_keyframes(front, 3, Pictures({}))) == [0, 500, 1000]

    def test_a_frame_that_cannot_be_decoded_is_left_out(self):
        front = cameras(front=[0, 100, 200, 300])
        pictures = Pictures({0: 5, 100: None, 200: 5, 300: None})
        assert times(sample_keyframes(front, 4, pictures)) == [0, 200]
        assert sample_keyframes(front, 4, Pictures(dict.fromkeys([0, 100, 200, 300]))) == []

    def test_each_thumbnail_is_made_once_and_not_more_than_the_candidates(self):
        front = cameras(front=range(0, 10_000, 10))
        pictures = Pictures({})
        chosen = sample_keyframes(front, 8, pictures)
        assert len(chosen) == 8
        assert chosen[-1].stamp_ns == START + 9990 * MS
        assert len(pictures.made) == len(set(pictures.made)) == MAX_CANDIDATES
        held = candidates(front)
        assert len(held["front"]) == MAX_CANDIDATES
        assert sample_keyframes(held, 8, pictures) == chosen

    def test_a_frame_of_two_instants_is_looked_at_once(self):
        pictures = Pictures({})
        two = cameras(front=[0, 100], left=[-500, 60])
        assert [shown(each.frames)[1] for each in align(two)] == [("left", 60)] * 2
        sample_keyframes(two, 4, pictures)
        assert sorted(pictures.made) == [0, 60, 100]

    def test_cameras_change_together(self):
        two = cameras(front=range(0, 500, 100), left=range(0, 500, 100))

        def picture(frame: Frame) -> np.ndarray:
            return grey(100 if (frame.camera, frame.stamp_ns) == ("left", START + 200 * MS) else 0)

        assert shown(sample_keyframes(two, 4, picture)) == [
            ("front", 200), ("left", 200), ("front", 400), ("left", 400),
        ]  # fmt: skip


CAMERAS = st.dictionaries(
    st.sampled_from(["front", "left", "rear"]),
    st.lists(st.integers(0, 4000), unique=True, max_size=30).map(sorted),
    min_size=1,
)
MODES = {
    "latest": lambda given_cameras, budget: sample_latest(given_cameras, budget),
    "uniform": lambda given_cameras, budget: uniform(given_cameras, budget, 4000),
    "keyframes": lambda given_cameras, budget: sample_keyframes(
        given_cameras, budget, lambda frame: grey(frame.stamp_ns // MS % 256)
    ),
}


@pytest.mark.parametrize("mode", MODES)
@given(times_of=CAMERAS, budget=st.integers(1, 40))
def test_any_choice_is_in_the_budget_in_order_and_without_doubles(mode, times_of, budget):
    budget = max(budget, len(times_of))
    window = cameras(**times_of)
    chosen = MODES[mode](window, budget)
    everything = [frame for each in window.values() for frame in each]
    assert len(chosen) <= budget
    if mode != "keyframes":  # which looks at common instants alone
        assert len(chosen) == min(budget, len(everything))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(everything)
    assert [f.stamp_ns for f in chosen] == sorted(f.stamp_ns for f in chosen)
    assert MODES[mode](window, budget) == chosen
    if everything:
        assert max(f.stamp_ns for f in everything) == chosen[-1].stamp_ns
