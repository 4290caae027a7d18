# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about a drive carry its truth, and an answer is right only if it says it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vila_ros.bags.drive_recording import START_NS
from vila_ros.nodes.demo.known import CLIP_FRAMES, is_right, known_questions
from vila_ros.nodes.demo.questions import DemoQuestion
from vila_ros.perception.types import Sampling
from vila_ros.simulation.drive import event_windows
from vila_ros.simulation.scene import FrameTruth, SeenThing

CONE = SeenThing(2, "cone", "red", 5.0, 2.0, 0.85, 0.2, 1.0)


def drive(seconds):
    """A blue car that crosses from left to right in each event's time, and a cone that stays."""
    truths = []
    for tenth in range(round(seconds * 10)):
        now = tenth / 10
        part = next((min(max((now - a) / (b - a), 0.0), 1.0) for a, b in event_windows(seconds)
                     if a <= now <= b), 0.0)  # fmt: skip
        column = 0.1 + 0.6 * part
        car = SeenThing(1, "car", "blue", 6.0, 0.0, column, 0.3, 1.0)
        truths.append(FrameTruth(START_NS + tenth * 10**8, "road", 0.0, (CONE, car)))
    return truths


def test_each_event_is_asked_about_by_three_questions_over_its_own_frames():
    questions = known_questions(drive(26.0), 26.0, seed=3)
    assert len(questions) == 12
    for number, (begins, ends) in enumerate(event_windows(26.0)):
        for question in questions[3 * number : 3 * number + 3]:
            assert begins <= (question.start_ns - START_NS) / 1e9 <= ends
            assert begins <= (question.end_ns - START_NS) / 1e9 <= ends
    for question in questions:
        if question.end_ns > question.start_ns:
            assert (question.max_frames, question.sampling) == (CLIP_FRAMES, Sampling.UNIFORM)
        else:
            assert (question.max_frames, question.sampling) == (1, Sampling.LATEST)


def test_the_answers_are_those_of_the_drive():
    questions = known_questions(drive(26.0), 26.0, seed=3)
    moved = [question for question in questions if question.end_ns > question.start_ns]
    # Of two things that are there, one crosses; that one is asked about.
    assert {question.answer for question in moved} == {"it crosses from left to right"}
    for question in questions:
        if question.choices:
            assert question.answer in question.choices
        elif question.json_schema:
            schema = json.loads(question.json_schema)
            assert set(json.loads(question.answer)) == set(schema["required"])


def test_a_drive_without_an_event_has_none():
    assert known_questions(drive(5.0), 5.0, seed=0) == ()


def test_the_same_seed_asks_the_same_and_another_one_something_else():
    asked = [known_questions(drive(13.0), 13.0, seed) for seed in (1, 1, 2)]
    assert asked[0] == asked[1] != asked[2]


FREE = DemoQuestion("What is nearest?", answer="a red cone")
FORM = replace(FREE, answer='{"color": "red", "count": 2}', json_schema="{}")


@pytest.mark.parametrize(
    ("question", "said", "right"),
    [
        (FREE, "a red cone", True),
        (FREE, "It is a red cone.", True),
        (FREE, "A Red  cone", True),
        (FREE, "a redder cone", False),
        (FREE, "a cone", False),
        (FREE, "", False),
        (replace(FREE, answer="1"), "12", False),
        (FORM, '{"count": 2, "color": "red"}', True),
        (FORM, '{"count": 3, "color": "red"}', False),
        (FORM, '{"count": 2', False),
        (FORM, "", False),
    ],
)
def test_an_answer_is_right_if_it_says_what_is_true(question, said, right):
    assert is_right(question, said) is right
