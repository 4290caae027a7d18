# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from test.datasets.export_data import START_NS
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize, serialize_float32, standard_types
from vila_ros.bags.writer import BagWriter
from vila_ros.datasets.values import TopicValues, ValueRule, read_field
from vila_ros.errors import InvalidRequest

TENTH = 100_000_000
LATE = 30_000_000  # from a message's stamp to its reception
JOY, STRING = "sensor_msgs/msg/Joy", "std_msgs/msg/String"


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A speed at 10 Hz with a hole, a joystick with header, and JSON in a string."""
    path = tmp_path_factory.mktemp("values") / "bag"
    types = standard_types().types
    with BagWriter(path) as writer:
        for index in range(20):
            stamp = START_NS + index * TENTH
            if not 10 <= index < 16:
                writer.write(
                    "/speed", "std_msgs/msg/Float32", stamp, serialize_float32(float(index))
                )
            time = types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
            header = types["std_msgs/msg/Header"](time, "")
            joy = types[JOY](header, np.array([index, -index], np.float32), np.zeros(0, np.int32))
            writer.write("/joy", JOY, stamp + LATE, serialize(joy, JOY))
            said = types[STRING](json.dumps({"objects": [{"kind": f"car{index}"}]}))
            writer.write("/truth", STRING, stamp, serialize(said, STRING))
    return open_recording(path)


def values_of(recording, *rules):
    values = TopicValues(rules, recording)
    for message in recording.messages(values.topics):
        values.add(message)
    return values


@pytest.mark.parametrize(
    ("match", "after", "expected"),
    [
        ("nearest", 0.04, 3.0), ("nearest", 0.06, 4.0), ("last", 0.09, 3.0),
        ("linear", 0.05, 3.5), ("linear", 0.0, 3.0),
    ],
)  # fmt: skip
def test_a_value_is_matched_to_a_stamp(recording, match, after, expected):
    values = values_of(recording, ValueRule("speed", "/speed", match=match))
    at = START_NS + 3 * TENTH + round(after * 1e9)
    assert values.at("speed", at, at) == pytest.approx(expected)


@pytest.mark.parametrize("match", ["nearest", "linear", "last"])
def test_no_value_is_given_in_a_hole(recording, match):
    values = values_of(recording, ValueRule("speed", "/speed", match=match, max_gap=0.2))
    middle = START_NS + 13 * TENTH
    assert values.at("speed", middle, middle) is None
    before = START_NS - 10 * TENTH
    assert values.at("speed", before, before) is None


def test_messages_with_a_header_are_matched_by_it(recording):
    values = values_of(recording, ValueRule("axis", "/joy", field="axes[0]", match="nearest"))
    stamp = START_NS + 5 * TENTH
    assert values.at("axis", stamp, stamp + 99 * TENTH) == 5.0
    # Without a stamp of the frame, the time of reception is compared with that of the message.
    assert values.at("axis", 0, stamp + LATE) == 5.0


def test_json_in_a_string_is_entered(recording):
    values = values_of(recording, ValueRule("kind", type=STRING, field="data.objects[0].kind"))
    assert values.at("kind", START_NS, START_NS) == "car0"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (ValueRule("v", "/velocity"), "'/velocity', which"),
        (ValueRule("v", type="nav_msgs/msg/Odometry"), "has none of it"),
    ],
)
def test_a_missing_topic_is_named(recording, rule, says):
    with pytest.raises(InvalidRequest, match=says):
        TopicValues((rule,), recording)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (ValueRule("v", "/speed", field="value"), "has no field 'value'"),
        (ValueRule("v", "/joy", field="axes"), "name an element of it, such as 'axes\\[0\\]'"),
        (ValueRule("v", "/joy", field="axes[7]"), "out of bounds"),
        (ValueRule("v", "/truth", field="data.people"), "has no field"),
    ],
)
def test_a_missing_field_is_named(recording, rule, says):
    with pytest.raises(InvalidRequest, match=says):
        values_of(recording, rule)


def test_text_has_no_linear_course(recording):
    values = values_of(recording, ValueRule("t", "/truth", match="linear"))
    at = START_NS + TENTH // 2
    with pytest.raises(InvalidRequest, match="set match: nearest"):
        values.at("t", at, at)


def test_a_path_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no path of fields"):
        read_field(object(), "[x].a")
