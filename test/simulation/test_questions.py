# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers follow from the truth, and nothing unclear is asked about."""

from __future__ import annotations

import json

import numpy as np
import pytest

from vila_ros.simulation.captions import describe, describe_clip
from vila_ros.simulation.questions import CLIP_TASKS, TASKS, Questioner
from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.scenes import HELD_OUT
from vila_ros.simulation.truth import motion, side


def seen(kind="car", color="red", column=0.2, distance=5.0, visible=1.0, number=0, height=0.3):
    return SeenThing(number, kind, color, distance, 0.0, column, height, visible)


def frame(*things, at=0.0, speed=0.0):
    return FrameTruth(round(at * 1e9), "road", speed, things)


def ask_all(frames, task, times=40, rare=False):
    asker = Questioner(frames, np.random.default_rng(0), rare)
    return [asked for _ in range(times) if (asked := asker.ask(task)) is not None]


def clip(*positions):
    """A clip of one car by (column, distance, visible)."""
    return [
        frame(seen(column=column, distance=distance, visible=visible), at=0.5 * index)
        for index, (column, distance, visible) in enumerate(positions)
    ]


def test_color_and_side_are_those_of_the_thing():
    truth = frame(seen(), seen("cone", "blue", column=0.8, number=1))
    answers = {(("cone" in asked.question), asked.answer) for asked in ask_all([truth], "color")}
    assert answers == {(False, "red"), (True, "blue")}
    sides = {("cone" in asked.question, asked.answer) for asked in ask_all([truth], "side")}
    assert sides == {(False, "left"), (True, "right")}


def test_presence_is_asked_evenly_and_answered_truly():
    asked = ask_all([frame(seen())], "presence", 200)
    yes = [each for each in asked if each.answer == "yes"]
    assert 70 < len(yes) < 130
    assert all("car" in each.question or "vehicle" in each.question for each in yes)
    assert not any(
        "car" in each.question or "vehicle" in each.question
        for each in asked
        if each.answer == "no"
    )


@pytest.mark.parametrize("task", ["color", "side", "presence", "count"])
def test_a_half_hidden_thing_is_never_asked_about(task):
    truth = frame(seen(visible=0.3), seen("cone", number=1, column=0.8))
    for asked in ask_all([truth], task, 100):
        assert "car" not in asked.question


def test_nothing_is_nearest_where_a_cars_front_may_be():
    chair = seen("chair", "blue", distance=1.9, number=1)
    assert ask_all([frame(chair, seen(distance=3.1))], "nearest") == []
    far = ask_all([frame(chair, seen(distance=5.0))], "nearest")
    assert {each.answer for each in far} == {"a blue chair"}


def test_a_thing_between_left_and_ahead_has_no_side():
    assert side(seen(column=0.41)) is None
    assert ask_all([frame(seen(column=0.41))], "side") == []


def test_kinds_of_which_there_are_several_are_counted_not_described():
    truth = frame(seen(), seen(number=1, column=0.5), seen("box", number=2, column=0.8))
    assert {asked.answer for asked in ask_all([truth], "count")} == {"2"}
    assert all("car" not in asked.question for asked in ask_all([truth], "color"))


@pytest.mark.parametrize("distance", [3.0, 6.0])
def test_nobody_asks_whether_something_stands_still_before_a_robot_that_drives(distance):
    def stills(speed):
        ends = [frame(seen(distance=6.0), speed=speed), frame(seen(distance=distance), at=1.0)]
        asker = Questioner(ends, np.random.default_rng(0))
        asked = [asker.ask("motion check") for _ in range(200)]
        asked += [each for _ in range(50) for each in asker.ask_every("every motion")]
        return [each for each in asked if each and "sta" in each.question]

    assert stills(speed=2.0) == []
    assert {each.answer for each in stills(speed=0.0)} == {"yes" if distance == 6.0 else "no"}


@pytest.mark.parametrize("task", ["color", "side", "side presence", "distance"])
def test_a_clip_of_two_cars_is_not_asked_about_the_car(task):
    left = seen(color="blue", column=1.3, visible=0.0, number=1)
    stays = seen(distance=3.0)
    frames = [frame(stays, seen(color="blue", column=0.8, number=1)), frame(stays, left, at=1.0)]
    assert ask_all(frames, task) == []
    assert ask_all(frames[-1:], task)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([(-0.6, 5, 0.0), (0.3, 5, 1.0)], "appears"),
        ([(0.3, 5, 1.0), (1.4, 5, 0.0)], "leaves"),
        ([(0.4, 8, 1.0), (0.4, 4, 1.0)], "comes closer"),
        ([(0.4, 4, 1.0), (0.4, 8, 1.0)], "moves away"),
        ([(0.2, 5, 1.0), (0.8, 5, 1.0)], "crosses to the right"),
        ([(0.8, 5, 1.0), (0.2, 5, 1.0)], "crosses to the left"),
        ([(0.4, 5, 1.0), (0.4, 5, 1.0)], "stays"),
        ([(0.4, 5, 1.0), (0.5, 5.5, 1.0)], None),
        ([(0.4, 5, 0.3), (0.4, 5, 1.0)], None),
    ],
)
def test_motion_is_named_only_where_it_is_clear(positions, expected):
    assert motion(clip(*positions), 0) == expected


def test_what_a_drives_pictures_list_at_one_end_alone_appears_or_leaves():
    cone = seen("cone", "blue", column=0.8, number=1)
    passed = [frame(seen(), cone), frame(cone, at=1.0)]
    assert motion(passed, 0) == "leaves"
    assert describe_clip(passed) == "A red car leaves. A blue cone stays where it is."
    assert {each.answer for each in ask_all(passed, "leaves")} == {"a red car"}
    reached = [frame(cone), frame(seen(), cone, at=1.0)]
    assert motion(reached, 0) == "appears"
    assert {each.answer for each in ask_all(reached, "appears")} == {"a red car"}


def test_descriptions_name_everything_from_left_to_right():
    truth = frame(seen(column=0.8), seen("ball", "orange", column=0.1, number=1))
    assert describe(truth) == "An orange ball on the left and a red car on the right."
    assert describe(frame()) == "Nothing is in the way."
    moving = clip((0.2, 5, 1.0), (0.8, 5, 1.0))
    assert describe_clip(moving) == "A red car crosses from left to right."
    first = frame(seen(column=0.8), seen("cone", "blue", column=0.1, number=1))
    second = frame(seen(column=0.8), seen("cone", "blue", column=-0.3, number=1, visible=0.0), at=1)
    told = "A blue cone leaves. A red car stays where it is."
    assert describe_clip([first, second]) == told


def test_of_two_equal_things_a_description_calls_the_second_another():
    pair = (seen(column=0.2), seen(column=0.8, number=1), seen("cone", column=0.9, number=2))
    told = "A red car on the left, another red car on the right and a red cone on the right."
    assert describe(frame(*pair)) == told
    later = (seen(column=0.2, distance=2.5), seen(column=0.8, number=1))
    one_comes = describe_clip([frame(*pair[:2]), frame(*later, at=1.0)])
    assert one_comes == "A red car comes closer. Another red car stays where it is."


def test_what_shows_in_part_is_not_denied():
    half = seen(column=0.05, visible=0.4)
    assert describe(frame(half)) == "A red car on the left."
    assert describe_clip([frame(seen()), frame(half, at=1.0)]) == "A red car is on the left."
    gone = seen(column=-0.3, visible=0.0)
    assert describe_clip([frame(half), frame(gone, at=1.0)]) == "A red car leaves."
    assert describe_clip([frame(gone), frame(gone, at=1.0)]) == "Nothing happens."
    beside = describe_clip([frame(half, seen("cone", number=1))] * 2)
    assert beside == "A red cone stays where it is."


def test_json_answers_are_json_with_the_keys_asked_for():
    truth = frame(seen(), seen("box", "blue", number=1, column=0.5))
    for asked in ask_all([truth], "json", 60):
        data = json.loads(asked.answer)
        assert all(key in asked.question for key in data)


def test_training_never_denies_a_held_out_color():
    for kind, color in HELD_OUT.items():
        other = "white" if color != "white" else "blue"
        truth = frame(seen(kind, other))
        assert all(color not in each.question for each in ask_all([truth], "color presence", 80))
    truth = frame(seen("car", "white"))
    rare = ask_all([truth], "color presence", 200, rare=True)
    assert any(HELD_OUT["car"] in each.question for each in rare)


def test_a_family_differs_in_one_word_and_is_partly_true():
    asker = Questioner(
        [frame(seen(), seen("cone", "blue", number=1, column=0.8))], np.random.default_rng(0)
    )
    presence = asker.ask_every("every presence")
    assert [each.answer for each in presence].count("yes") == 2
    assert len(presence) == 8
    sides = asker.ask_every("every side")
    assert [each.answer for each in sides].count("yes") == 2
    assert len(sides) == 6
    assert {each.answer for each in asker.ask_every("every color")} == {"yes", "no"}
    moving = Questioner(clip((0.2, 5, 1.0), (0.8, 5, 1.0)), np.random.default_rng(0))
    answers = [each.answer for each in moving.ask_every("every motion")]
    assert answers == ["it crosses from left to right", "yes", "no", "no"]
    assert [each.answer for each in moving.ask_every("every drive")] == ["no", "yes"]
    gone = Questioner(clip((0.2, 5, 1.0), (1.2, 5, 0.0)), np.random.default_rng(0))
    changes = {each.question: each.answer for each in gone.ask_every("every change")}
    assert [answer for question, answer in changes.items() if "car" in question] == ["yes", "no"]
    assert len(changes) > 4
    place = [each.answer for each in asker.ask_every("every place")]
    assert place == ["on a road", "no", "yes", "no"]
    assert [each.answer for each in asker.ask_every("every count")] == ["1", "1"]


def test_every_task_can_be_asked():
    frames = clip((0.2, 5, 1.0), (0.8, 5, 1.0))
    for task in (*TASKS, *CLIP_TASKS):
        if task in ("distance", "leaves", "appears"):
            continue
        assert ask_all(frames, task), task
    assert ask_all([frame(seen(distance=3.0))], "distance")[0].answer == "near"
    assert {each.answer for each in ask_all(frames, "leaves", 40)} == {"nothing"}
