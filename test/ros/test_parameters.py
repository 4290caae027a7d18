# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters of the running node: described, changed, refused with a reason, put in force."""

import pytest
from rcl_interfaces.msg import ParameterType

from vila_ros.errors import ErrorCode
from vila_ros.nodes.parameter_fields import Changes, parameters_of
from vila_ros.nodes.settings import Settings

KINDS = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
    tuple: ParameterType.PARAMETER_STRING_ARRAY,
}


@pytest.fixture(scope="module")
def active(robot):
    # Given for cameras that are not there yet: a topic of the wrong type, a type that is none.
    of_later_cameras = {"camera.rear.topic": 5, "camera.side.type": "video"}
    robot.start_node({"cameras": ["front"], "query.max_tokens": 100, **of_later_cameras})
    robot.activate()
    return robot


def test_every_parameter_is_declared_with_type_description_and_range(active):
    for each, default in parameters_of(Settings).values():
        found = active.describe_parameter(each.name)
        assert found.type == KINDS[type(default)], each.name
        assert found.description == each.description
        ranges = [*found.integer_range, *found.floating_point_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [] if each.low is None else [(each.low, each.high)]
        )


def test_a_camera_has_its_own_parameters(active):
    assert active.get_parameter("camera.front.topic") == "front/image_raw"
    assert active.get_parameter("camera.front.type") == "auto"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("buffer__seconds", -1.0, "out of range"),
        ("buffer__seconds", float("nan"), "out of range"),
        ("buffer__seconds", 10, "Wrong parameter type"),
        ("question__max_frames", 0, "out of range"),
        ("question__sampling", "random", "must be one of latest, uniform, keyframes"),
        ("description__prompt", "  ", "description.prompt is empty"),
        ("description__json_schema", "{", "not JSON"),
        ("description__json_schema", '{"type": "sausage"}', "sausage"),
        ("description__cameras", ["rear"], "names 'rear', which cameras does not: front"),
        ("engine__model", "other", "only while the node is unconfigured"),
        ("cameras", ["rear"], "only while the node is unconfigured"),
        ("camera__front__topic", "/elsewhere", "only while the node is unconfigured"),
    ],
)
def test_a_bad_value_is_refused_with_the_reason_and_changes_nothing(active, name, value, says):
    before = active.get_parameter(name.replace("__", "."))
    assert says in active.set_parameters(**{name: value})
    assert active.get_parameter(name.replace("__", ".")) == before


def test_a_value_that_stays_what_it_is_is_no_change(active):
    assert active.set_parameters(engine__model="echo", cameras=["front"]) == ""


def test_changes_are_in_force_for_the_next_question(active):
    assert active.query(prompt="1 2 3 4", sampling=4).text == "1 2 3 4"
    assert active.set_parameters(question__max_tokens=2) == ""
    assert active.query(prompt="1 2 3 4", sampling=4).text == "1 2"
    assert active.set_parameters(question__max_tokens=100, query__max_tokens=3) == ""
    assert active.query(prompt="1 2 3 4", sampling=4).text == "1 2 3"
    assert active.set_parameters(question__queue_size=3) == ""
    active.fresh_diagnostic("queue")
    assert active.value("queue", "queue size") == "3"


def test_one_bad_value_refuses_all_that_are_set_together(active):
    assert "random" in active.set_parameters(question__window=1.5, question__sampling="random")
    assert active.get_parameter("question.window") == 5.0


def test_cameras_of_an_unconfigured_node_may_be_others(active):
    active.transition("deactivate")
    active.transition("cleanup")
    assert "'9lives'" in active.set_parameters(cameras=["9lives"])
    assert "twice" in active.set_parameters(cameras=["left", "left"])
    assert "engine.options is not JSON" in active.set_parameters(engine__options="{")
    assert active.set_parameters(cameras=["left", "right"]) == ""
    assert active.get_parameter("camera.right.topic") == "right/image_raw"
    assert "no topic" in active.set_parameters(camera__right__topic="")
    assert active.set_parameters(camera__right__topic="/r/compressed") == ""
    active.activate()
    active.wait_for(lambda: active.value("cameras/right", "topic") == "/r/compressed")
    assert active.value("cameras/right", "type") == "sensor_msgs/msg/CompressedImage"
    assert active.query(prompt="x", cameras=["front"]).error_code == ErrorCode.UNKNOWN_CAMERA


def test_a_camera_that_was_given_bad_values_is_refused_when_it_is_named(active):
    active.transition("deactivate")
    active.transition("cleanup")
    before = active.get_parameter("cameras")
    reason = active.set_parameters(cameras=["left", "rear"])
    assert "camera.rear.topic must be a str" in reason
    assert "to '5'" in reason
    assert "Correct the parameter file or command line" in reason
    assert "must be one of auto" in active.set_parameters(cameras=["left", "side"])
    assert active.get_parameter("cameras") == before
    assert active.set_parameters(question__max_tokens=2, query__max_tokens=2) == ""
    assert active.set_parameters(camera__side__type="image") == ""
    assert active.set_parameters(cameras=["left", "side"]) == ""
    active.activate()
    assert active.query(prompt="1 2 3 4", sampling=4).text == "1 2"
    active.wait_for(lambda: active.value("cameras/side", "type") == "sensor_msgs/msg/Image")


def test_every_parameter_says_when_it_may_change():
    fixed = {p.name for p, _ in parameters_of(Settings).values() if p.changes is not Changes.ALWAYS}
    assert fixed == {"autostart", "cameras"} | {
        p.name for p, _ in parameters_of(Settings).values() if p.name.startswith("engine.")
    }
