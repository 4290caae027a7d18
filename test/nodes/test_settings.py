# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Settings: the node's parameters as one checked value, without ROS."""

import pytest

from vila_ros.errors import InvalidRequest
from vila_ros.nodes.parameter_fields import build, parameters_of
from vila_ros.nodes.settings import CameraSettings, Settings
from vila_ros.perception.types import MessageKind, Sampling


def values(**changed):
    found = {each.name: default for each, default in parameters_of(Settings).values()}
    return {**found, **{name.replace("__", "."): value for name, value in changed.items()}}


def test_the_defaults_are_allowed_and_become_what_the_other_rooms_take():
    settings = build(Settings, values(engine__model="tiny", engine__options='{"device": "cpu"}'))
    assert settings.camera_names == ("camera",)
    assert settings.engine_spec.options == {"device": "cpu"}
    assert settings.buffer_limits.seconds == settings.buffer_seconds
    assert settings.perceiver_defaults.sampling is Sampling.UNIFORM
    assert settings.supervision_policy.load_timeout == settings.engine_load_timeout


def test_names_are_unique():
    names = [each.name for each, _ in parameters_of(Settings).values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"cameras": ["front", "front"]}, "twice"),
        ({"cameras": ["front/left"]}, "'front/left'"),
        ({"cameras": ["front", ""]}, "''"),
        ({"engine__options": "[1]"}, "must be a JSON object"),
        ({"engine__options": "{'a': 1}"}, "is not JSON"),
        ({"buffer__seconds": float("nan")}, "from 0.1 to 3600"),
        ({"question__max_frames": 0}, "from 1 to 1024"),
        ({"question__sampling": "LATEST"}, "must be one of latest"),
        ({"description__cameras": ["attic"]}, "'attic', which cameras does not: camera"),
    ],
)
def test_what_is_not_allowed_is_named_with_the_limit(changed, says):
    with pytest.raises(InvalidRequest, match=says):
        build(Settings, values(**changed))


def test_no_cameras_is_an_empty_name():
    assert build(Settings, values(cameras=[""])).camera_names == ()


def test_an_engine_without_a_model_is_refused():
    with pytest.raises(InvalidRequest, match=r"engine\.model is empty"):
        _ = build(Settings, values()).engine_spec


@pytest.mark.parametrize(
    ("topic", "kind", "expected"),
    [
        ("/a/image_raw", "auto", MessageKind.IMAGE),
        ("/a/image_raw/compressed", "auto", MessageKind.COMPRESSED_IMAGE),
        ("/a/compressed_view", "auto", MessageKind.IMAGE),
        ("/a/jpeg", "compressed", MessageKind.COMPRESSED_IMAGE),
        ("/a/compressed", "image", MessageKind.IMAGE),
    ],
)
def test_type_of_a_camera(topic, kind, expected):
    assert CameraSettings(topic, kind).kind is expected


@pytest.mark.parametrize("topic", ["", " ", "/a//b", "/a/", " /a"])
def test_a_topic_that_is_none_is_refused(topic):
    with pytest.raises(InvalidRequest, match="no topic"):
        build(CameraSettings, {"topic": topic, "type": "auto"})
