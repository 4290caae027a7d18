# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What people write to start the node."""

import pytest

from vila_ros.errors import InvalidRequest
from vila_ros.nodes.node_arguments import (
    camera_parameters,
    parameter_file,
    profile_file,
    profiles,
)


def test_cameras_become_parameters():
    assert camera_parameters(["front:=/front/image_raw", "rear=/rear/jpeg:compressed"]) == {
        "cameras": ["front", "rear"],
        "camera.front.topic": "/front/image_raw",
        "camera.rear.topic": "/rear/jpeg",
        "camera.rear.type": "compressed",
    }


def test_no_cameras_leave_the_files_their_own():
    assert camera_parameters([]) == {}


@pytest.mark.parametrize(
    "camera", ["front", "front:=", ":=/a", "9front:=/a", "front:=/a:gif", "a b:=/a", "front:/a"]
)
def test_what_is_no_camera_is_named_with_the_form(camera):
    with pytest.raises(InvalidRequest, match="write name:=topic") as error:
        camera_parameters([camera])
    assert repr(camera) in error.value.message


def test_a_camera_given_twice_is_refused():
    with pytest.raises(InvalidRequest, match="'front' is given twice"):
        camera_parameters(["front:=/a", "front:=/b"])


def test_profiles_are_found_by_name():
    assert set(profiles()) == {"agx_orin", "cpu", "orin_nano", "rtx"}
    assert profile_file("cpu").name == "cpu.yaml"
    with pytest.raises(InvalidRequest, match="'toaster'; there are agx_orin, cpu"):
        profile_file("toaster")


def test_a_parameter_file_must_exist(tmp_path):
    with pytest.raises(InvalidRequest, match=r"no parameter file '.*none\.yaml'"):
        parameter_file(str(tmp_path / "none.yaml"))
