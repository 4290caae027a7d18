# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of each kind become metrics, and two sets of them a verdict."""

from __future__ import annotations

import math
import sys

import pytest

from vila_ros.evaluation.comparison import compare
from vila_ros.evaluation.plan import Schedule, TopicValue
from vila_ros.evaluation.scoring import score_row, truth_name
from vila_ros.evaluation.summary import summarize
from vila_ros.evaluation.types import Bins, EvaluationQuestion, Expectation, Source

TOPIC = TopicValue("/t", "data")
FROM_TOPIC = Source(topic=TOPIC)


def question(kind, sources, choices=(), tolerance=0.0, when="", at=()):
    fields = {"prompt": "What?", **({"choices": list(choices)} if choices else {})}
    expect = Expectation(kind, sources, tolerance, when, at)
    return EvaluationQuestion("q", 1, fields, Schedule(every=1.0), expect)


def row(second, text, truth=None, **fields):
    return {
        "question": "q",
        "stamp_ns": int(second * 1e9),
        "seconds": second,
        "text": text,
        "json": "",
        "error": None,
        "probabilities": [],
        "frame": "",
        "truth": {} if truth is None else {truth_name(FROM_TOPIC): truth},
        **fields,
    }


def scored(asked, rows, model="m", recording="r"):
    return [score_row(asked, each, model, recording) for each in rows]


def values(asked, rows):
    return summarize(asked, scored(asked, rows)).values


FAILED = {"error": {"code": "ENGINE_FAILED", "message": "it broke"}}


def test_choices():
    asked = question("choice", {"": FROM_TOPIC}, ["yes", "no"])
    rows = [
        row(0, "yes", True, probabilities=[0.9, 0.1]),
        row(1, "no", True, probabilities=[0.2, 0.8]),
        row(2, "no", False, probabilities=[0.4, 0.6]),
        row(3, "", False, **FAILED),
        row(4, "yes", None),
    ]
    summary = summarize(asked, scored(asked, rows))
    assert (summary.asked, summary.scored, summary.failed) == (5, 4, 1)
    assert summary.values["accuracy"] == 0.5
    assert summary.values["answered"] == 0.8
    assert summary.confusion == {
        ("yes", "yes"): 1,
        ("yes", "no"): 1,
        ("no", "no"): 1,
        ("no", "-"): 1,
    }
    assert summary.values["brier"] == pytest.approx((0.02 + 1.28 + 0.32) / 3)
    assert summary.intervals["accuracy"][0] < 0.5 < summary.intervals["accuracy"][1]


def test_a_number_in_bins_and_a_word_by_a_map_are_choices():
    bins = Bins((("slow", None, 7.0), ("fast", 7.0, None)))
    asked = question("choice", {"": Source(topic=TOPIC, bins=bins)}, ["slow", "fast"])
    assert values(asked, [row(0, "slow", 6.9), row(1, "slow", 7)])["accuracy"] == 0.5
    mapped = Source(topic=TOPIC, mapping={"3": "red", "true": "green"})
    asked = question("choice", {"": mapped}, ["red", "green"])
    rows = [row(0, "red", 3.0), row(1, "green", True), row(2, "red", "else")]
    summary = summarize(asked, scored(asked, rows))
    assert (summary.scored, summary.values["accuracy"]) == (2, 1.0)


def test_numbers():
    asked = question("number", {"": FROM_TOPIC}, tolerance=1.0)
    rows = [row(0, "3 cars", 2), row(1, "none", 2), row(2, "I cannot tell", 2), row(3, "two", None)]
    found = values(asked, rows)
    assert found["within"] == pytest.approx(1 / 3)
    assert found["understood"] == pytest.approx(2 / 3)
    assert (found["mean_absolute_error"], found["bias"]) == (1.5, -0.5)
    assert found["root_mean_square_error"] == pytest.approx(2.5**0.5)


NOT_NUMBERS = [math.inf, -math.inf, math.nan, sys.float_info.max]


@pytest.mark.parametrize("value", NOT_NUMBERS, ids="{:.1e}".format)
def test_a_topic_that_says_no_number_is_no_truth(value):
    number = question("number", {"": FROM_TOPIC}, tolerance=1.0)
    summary = summarize(number, scored(number, [row(0, "3", value), row(1, "3", 3)]))
    assert (summary.scored, summary.values["within"], summary.values["bias"]) == (1, 1.0, 0.0)
    fields = question("fields", {"far": FROM_TOPIC, "road": Source(constant="straight")})
    given = row(0, "", value, json='{"far": 3.0, "road": "straight"}')
    assert values(fields, [given])["all_right"] == 1.0


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_choice_and_an_event_of_no_number_are_not_scored(value):
    for source in (FROM_TOPIC, Source(topic=TOPIC, mapping={"1": "yes"})):
        choice = question("choice", {"": source}, ["yes", "no"])
        assert summarize(choice, scored(choice, [row(0, "yes", value)])).scored == 0
    event = question("event", {"": FROM_TOPIC}, ["yes", "no"], 1.0, "yes")
    (answer,) = scored(event, [row(0, "yes", value)])
    assert answer.expected is None


def test_bins_and_a_map_say_what_an_infinite_range_means():
    bins = Bins((("near", None, 10.0), ("far", 10.0, None)))
    for source in (Source(topic=TOPIC, bins=bins), Source(topic=TOPIC, mapping={"inf": "far"})):
        choice = question("choice", {"": source}, ["near", "far"])
        assert values(choice, [row(0, "far", math.inf)])["accuracy"] == 1.0
        assert values(choice, [row(0, "far", math.nan)])["accuracy"] is None


def test_a_text_of_which_none_is_accepted_is_not_scored():
    asked = question("text", {"": FROM_TOPIC})
    assert summarize(asked, scored(asked, [row(0, "rain", [])])).scored == 0


def test_answers_of_endless_digits_are_wrong_and_no_more():
    asked = question("number", {"": FROM_TOPIC}, tolerance=1.0)
    found = values(asked, [row(0, "9" * 400, 3), row(1, "3", 3)])
    assert (found["within"], found["understood"], found["root_mean_square_error"]) == (0.5, 0.5, 0)
    fields = question("fields", {"far": FROM_TOPIC})
    assert values(fields, [row(0, "", 2.5, json=f'{{"far": {"9" * 400}}}')])["all_right"] == 0


def test_texts_take_the_best_of_what_is_accepted():
    asked = question("text", {"": Source(constant=["clear sky", "sunny"])})
    found = values(asked, [row(0, "Sunny."), row(1, "a clear day"), row(2, "rain", **FAILED)])
    assert found["exact"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx((1.0 + 0.5 + 0.0) / 3)


def test_fields():
    sources = {"road": Source(constant="straight"), "cars.count": FROM_TOPIC}
    asked = question("fields", sources)
    rows = [
        row(0, "", 2, json='{"road": "Straight", "cars": {"count": 2.0}}'),
        row(1, "", 2, json='{"road": "straight", "cars": {}}'),
        row(2, "no json", 2),
        row(3, "", None, json='{"road": "straight"}'),
    ]
    found = values(asked, rows)
    assert found["all_right"] == 0.5
    assert found["fields_right"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert found["valid_json"] == 0.75
    assert found["field cars.count"] == pytest.approx(1 / 3)


def test_events_of_a_topic():
    asked = question("event", {"": FROM_TOPIC}, ["yes", "no"], 1.0, "yes")
    said = ["no", "yes", "no", "no", "no", "yes", "yes"]
    true = [True, True, False, False, False, False, False]
    rows = [row(t, text, state) for t, (text, state) in enumerate(zip(said, true, strict=True))]
    summary = summarize(asked, scored(asked, rows))
    found = summary.values
    assert (found["precision"], found["recall"], found["delay"]) == (0.5, 1.0, 1.0)
    assert found["f1"] == pytest.approx(2 / 3)
    assert summary.matches["r"].spurious == (5,)


def test_events_at_times():
    asked = question("event", {}, (), 1.0, "yes", (("", 1.0), ("other", 4.0)))
    rows = [row(t, text) for t, text in enumerate(["no", "Yes!", "no", "no", "yes"])]
    assert values(asked, rows)["precision"] == 0.5
    other = summarize(asked, scored(asked, rows, recording="other"))
    assert (other.values["precision"], other.values["recall"]) == (1.0, 1.0)
    nothing = question("event", {}, (), 1.0, "yes", (("other", 4.0),))
    assert values(nothing, rows)["precision"] is None


def test_an_answer_that_fails_does_not_end_an_event():
    asked = question("event", {}, ["yes", "no"], 1.0, "yes", (("", 2.0),))
    said = ["no", "no", "yes", "", "yes", "no"]
    rows = [row(t, text, **({} if text else FAILED)) for t, text in enumerate(said)]
    found = values(asked, rows)
    assert (found["precision"], found["recall"], found["delay"]) == (1.0, 1.0, 0.0)
    silent = values(asked, [row(t, "", **FAILED) for t in range(4)])
    assert (silent["precision"], silent["recall"]) == (None, 0.0)


def test_nothing_expected_gives_no_metric():
    asked = question("choice", {"": FROM_TOPIC}, ["yes", "no"])
    summary = summarize(asked, scored(asked, [row(0, "yes")]))
    assert (summary.scored, summary.values["accuracy"]) == (0, None)
    assert summarize(asked, []).values["answered"] is None


def test_a_better_model_is_told_from_chance():
    asked = question("choice", {"": Source(constant="yes")}, ["yes", "no"])
    good = scored(asked, [row(t * 12, "yes") for t in range(20)])
    poor = scored(asked, [row(t * 12, "no" if t % 3 else "yes") for t in range(20)])
    found = compare(asked, poor, good, ("poor", "good"))
    assert (found.verdict, found.only_second, found.only_first) == ("better", 13, 0)
    assert found.bootstrap.units == "blocks"
    assert compare(asked, good, poor, ("good", "poor")).verdict == "worse"
    assert compare(asked, good, good, ("a", "b")).verdict == "no difference shown"
    few = compare(asked, poor[:3], good[:3], ("poor", "good"))
    assert few.verdict == "no difference shown"
    assert compare(asked, good, [], ("a", "b")) is None


def test_answers_are_paired_by_recording_and_moment():
    asked = question("number", {"": FROM_TOPIC}, tolerance=0.5)
    first = scored(asked, [row(0, "1", 1), row(1, "1", 1)])
    second = scored(asked, [row(1, "2", 1), row(2, "2", 1)])
    assert compare(asked, first, second, ("a", "b")).pairs == 1
    elsewhere = scored(asked, [row(1, "2", 1)], recording="elsewhere")
    assert compare(asked, first, elsewhere, ("a", "b")) is None


def test_events_are_compared_by_what_was_found():
    asked = question("event", {}, (), 1.0, "yes", (("", 1.0), ("", 5.0)))
    one = scored(asked, [row(t, "yes" if t == 1 else "no") for t in range(7)])
    both = scored(asked, [row(t, "yes" if t in (1, 5) else "no") for t in range(7)])
    found = compare(asked, one, both, ("one", "both"))
    assert (found.pairs, found.only_second) == (2, 1)
