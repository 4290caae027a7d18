# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an annotation may hold."""

import pytest

from test.annotation.conftest import annotation
from vila_ros.annotation.coda_lm import checked_annotation, empty_annotation
from vila_ros.errors import InvalidRequest


def test_a_whole_annotation_stays_as_it_is():
    assert checked_annotation(annotation(), 64, 48) == annotation()
    assert checked_annotation({}, 64, 48) == empty_annotation()


def test_regions_are_numbered_anew_in_their_order():
    regions = {
        name: {"box": [index, 0, 5, 5], "category_name": name}
        for index, name in enumerate(("x", "b", "a"))
    }
    found = checked_annotation({"region_perception": regions}, 64, 48)["region_perception"]
    assert [(name, region["category_name"]) for name, region in found.items()] == [
        ("1", "x"), ("2", "b"), ("3", "a"),
    ]  # fmt: skip


def test_boxes_are_held_to_the_frame():
    def box(*numbers):
        region = {"1": {"box": list(numbers)}}
        found = checked_annotation({"region_perception": region}, 64, 48)
        return found["region_perception"]["1"]["box"]

    assert box(-5, -5, 20, 20) == [0, 0, 15, 15]
    assert box(60, 40, 20, 20) == [60, 40, 4, 8]
    assert box(1.23456, 2, 3.5, 4.0) == [1.23, 2, 3.5, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the annotation is []; it must be an object"),
        ({"weather": ""}, "the annotation has 'weather'"),
        ({"general_perception": {"cars": []}}, "general_perception has 'cars'"),
        ({"general_perception": {"vehicles": {}}}, "vehicles is {}; it must be a list"),
        ({"general_perception": {"vehicles": ["car"]}}, r"vehicles[0] is 'car'"),
        ({"general_perception": {"vehicles": [{"description": 3}]}}, "description is 3; it must"),
        ({"general_perception": {"vehicles": [{}] * 101}}, "has 101 entries; at most 100"),
        ({"driving_suggestion": "x" * 8001}, "8001 characters; at most 8000"),
        ({"region_perception": {"1": {}}}, "region_perception.1.box is None"),
        ({"region_perception": {"1": {"box": [1, 2, 3]}}}, "box is [1, 2, 3]"),
        ({"region_perception": {"1": {"box": [1, 2, float("nan"), 3]}}}, "box is [1, 2, nan, 3]"),
        ({"region_perception": {"1": {"box": [1, 2, True, 3]}}}, "box is [1, 2, True, 3]"),
        ({"region_perception": {"1": {"box": [70, 2, 5, 5]}}}, "at least 1x1 pixels of the 64x48"),
        ({"region_perception": {str(i): {} for i in range(201)}}, "201 boxes; at most 200"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(value, message):
    with pytest.raises(InvalidRequest) as refusal:
        checked_annotation(value, 64, 48)
    assert message in refusal.value.message
