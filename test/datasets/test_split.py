# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import pytest

from test.datasets.export_data import START_NS
from vila_ros.datasets.split import (
    Drive,
    SplitRule,
    overlapping,
    split_recordings,
    timeline_from_json,
    timeline_to_json,
)
from vila_ros.errors import InvalidRequest

MINUTE = 60 * 10**9


def drives(count: int, minutes: int = 10) -> list[Drive]:
    """Drives one after the other, an hour apart."""
    starts = [START_NS + 60 * index * MINUTE for index in range(count)]
    return [
        Drive(f"drive_{index}", start, start + minutes * MINUTE)
        for index, start in enumerate(starts)
    ]


def test_a_split_by_time_leaves_a_gap_on_both_sides():
    (drive,) = drives(1)
    rule = SplitRule("time", val=0.2, gap=5.0)
    timeline = split_recordings([drive], rule)["drive_0"]
    lengths = {"train": 0, "val": 0, "gap": 0}
    for part, first, last in zip(
        timeline.parts, timeline.borders, timeline.borders[1:], strict=False
    ):
        lengths[part] += last - first
    assert lengths["val"] == pytest.approx(2 * MINUTE, abs=2)
    assert lengths["gap"] == pytest.approx(10 * 10**9, abs=2)
    assert sum(lengths.values()) == drive.end_ns - drive.start_ns + 1
    validation = timeline.borders[2]
    assert timeline.part_of(validation, validation + 10**9) == "val"
    assert timeline.part_of(validation - 10**9, validation + 10**9) == "gap"  # spans the border
    assert timeline.part_of(drive.start_ns - 5, drive.start_ns - 1) in ("train", "gap")


def test_a_split_by_recording_takes_whole_recordings():
    timelines = split_recordings(drives(10), SplitRule("recording", val=0.3))
    parts = [timeline.parts for timeline in timelines.values()]
    assert parts.count(("val",)) == 3
    assert parts.count(("train",)) == 7


def test_auto_splits_many_recordings_whole_and_few_by_time():
    few, many = (split_recordings(drives(count), SplitRule()) for count in (2, 8))
    assert all(len(timeline.parts) == 5 for timeline in few.values())
    assert all(len(timeline.parts) == 1 for timeline in many.values())


def test_the_same_seed_gives_the_same_split_and_another_one_differs():
    rules = [SplitRule("time", seed=seed) for seed in (1, 1, 2)]
    first, again, other = (split_recordings(drives(2), rule) for rule in rules)
    assert first == again != other


def test_recordings_of_the_same_time_are_split_as_one():
    one, two = Drive("a", START_NS, START_NS + 10 * MINUTE), Drive(
        "b", START_NS + 4 * MINUTE, START_NS + 14 * MINUTE
    )  # fmt: skip
    assert overlapping([two, one]) == [[one, two]]
    timelines = split_recordings([one, two], SplitRule("time", val=0.3))
    assert timelines["a"] == timelines["b"]
    others = drives(6)[1:]
    whole = split_recordings([one, two, *others], SplitRule("recording", val=0.3, seed=3))
    assert whole["a"].parts == whole["b"].parts


def test_recordings_without_times_of_their_own_do_not_overlap():
    videos = [Drive(name, 10**9, 10**9 + MINUTE) for name in "ab"]
    assert len(overlapping(videos)) == 2


def test_one_recording_cannot_be_split_by_recording():
    with pytest.raises(InvalidRequest, match="at least 2 recordings"):
        split_recordings(drives(1), SplitRule("recording"))


def test_without_validation_everything_is_for_training():
    assert split_recordings(drives(1), SplitRule(val=0))["drive_0"].parts == ("train",)


@pytest.mark.parametrize("wrong", [{"method": "random"}, {"val": 0.95}, {"gap": -1}])
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidRequest):
        SplitRule(**wrong)


def test_a_timeline_survives_json():
    timeline = split_recordings(drives(1), SplitRule("time"))["drive_0"]
    assert timeline_from_json(timeline_to_json(timeline)) == timeline
