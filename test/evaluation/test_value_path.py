# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paths into messages, and what is said where they lead nowhere."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from vila_ros.bags.serialization import standard_types
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.value_path import ValuePath

TRUTH = {
    "speed": 9.5,
    "objects": [
        {"kind": "stop sign", "distance": 12.0, "box": [1, 2, 3, 4]},
        {"kind": "person", "distance": 40.5, "box": [0, 0, 1, 1]},
        {"kind": "person", "distance": 8.0, "box": [5, 6, 7, 8]},
    ],
}


@pytest.fixture
def message():
    return standard_types().types["std_msgs/msg/String"](json.dumps(TRUTH))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.speed", 9.5),
        ("data.objects | count", 3),
        ("data.objects[kind=person] | count", 2),
        ("data.objects[kind=person][distance<30]|any", True),
        ("data.objects[kind = stop sign][distance >= 12.0] | none", False),
        ("data.objects[kind!=person][0].distance", 12.0),
        ("data.objects[-1].box[2]", 7),
        ("data.objects[kind=dog] | first", None),
        ("data.objects[kind=dog] | first | abs", None),
        ("data.objects[0].box | max", 4),
        ("data.objects[0].box | mean", 2.5),
        ("data.objects[0].box | sum", 10),
        ('data.objects[kind="person"] | last', TRUTH["objects"][2]),
        ("data.speed | round", 10),
    ],
)
def test_values(message, path, value):
    assert ValuePath(path).of(message) == value


def test_fields_of_messages_and_arrays():
    types = standard_types().types
    vector = types["geometry_msgs/msg/Vector3"](x=1.5, y=0.0, z=0.0)
    twist = types["geometry_msgs/msg/Twist"](linear=vector, angular=vector)
    assert ValuePath("linear.x").of(twist) == 1.5
    from vila_ros.evaluation.value_path import ValuePath as Path

    with pytest.raises(InvalidRequest, match=r"there is no 'lineal'; there are: angular, linear$"):
        Path("lineal.x").of(twist)


@pytest.mark.parametrize(
    ("kind", "elements", "path", "value"),
    [
        ("UInt8", [200, 100, 50], "data | sum", 350),
        ("UInt8", [200, 100, 60], "data | mean", 120.0),
        ("Int8", [100, 100, 100], "data | mean", 100.0),
        ("Int8", [-128], "data[0] | abs", 128),
        ("Int64", [2**62, 2**62], "data | sum", 2**63),
        ("Float32", [2.75], "data[0] | round", 3),
        ("Float32", [math.inf, math.nan], "data[0] | round", None),
        ("Float32", [math.inf, math.nan], "data[1] | round", None),
    ],
)
def test_arrays_are_reckoned_without_wrapping_around(kind, elements, path, value):
    types = standard_types().types
    layout = types["std_msgs/msg/MultiArrayLayout"](dim=[], data_offset=0)
    array = np.array(elements, kind.lower())
    found = ValuePath(path).of(types[f"std_msgs/msg/{kind}MultiArray"](layout, array))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "the path is empty"),
        ("data..x", "not understood from '..x' on"),
        ("data | largest", r"'\| largest' is not known; known are abs, any, count"),
        ("data[kind]", r"'\[kind\]' is neither a number nor a condition"),
        ("data.objects}", "not understood from '}' on"),
    ],
)
def test_what_is_no_path(path, says):
    with pytest.raises(InvalidRequest, match=says):
        ValuePath(path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data.objekts", "there is no 'objekts'; there are: objects, speed"),
        ("data.objects[9]", r"\[9\] is outside of a list of 3"),
        ("data.speed.x", "'x' is looked for in float 9.5, which has no fields"),
        ("data.speed | count", "count needs a list, there is float 9.5"),
        ("data.objects[distance<near]", "cannot be compared with 'near'"),
        ("data.objects[weight<3]", "there is no 'weight'; there are: box, distance, kind"),
        ("data.objects | sum", "sum needs numbers"),
        ("__class__.x", "there is no '__class__'"),
    ],
)
def test_where_a_path_leads_nowhere(message, path, says):
    with pytest.raises(InvalidRequest, match=says):
        ValuePath(path).of(message)


def test_a_text_that_is_no_json_is_said():
    message = standard_types().types["std_msgs/msg/String"]("hello")
    assert ValuePath("data").of(message) == "hello"
    with pytest.raises(InvalidRequest, match="the text 'hello' is no JSON, so 'speed' is not"):
        ValuePath("data.speed").of(message)
