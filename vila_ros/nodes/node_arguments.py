# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What people write to start the node, as parameters: profiles and cameras.

Used by `vila serve` and by launch/vila.launch.py, so that both take the same. Imports no ROS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from vila_ros.bags.recorded_cameras import CAMERA_NAME
from vila_ros.errors import InvalidRequest
from vila_ros.nodes.settings import camera_prefix

_CAMERA = re.compile(r"(?P<name>[^:=]+):?=(?P<topic>[^:]+)(:(?P<type>image|compressed))?")

ParameterValue = str | int | float | bool | list[str]


def config_folder() -> Path:
    """The folder of parameter files: of the installed package, else of the source tree."""
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory("vila_ros")) / "config"
    except (ImportError, LookupError):
        return Path(__file__).resolve().parents[2] / "config"


def profiles() -> dict[str, Path]:
    """Platform profiles by name."""
    return {path.stem: path for path in sorted((config_folder() / "profiles").glob("*.yaml"))}


def profile_file(name: str) -> Path:
    """The parameter file of a profile. Raises InvalidRequest, naming those that exist."""
    known = profiles()
    if name not in known:
        raise InvalidRequest(f"There is no profile '{name}'; there are {', '.join(known)}.")
    return known[name]


def parameter_file(path: str) -> Path:
    """A parameter file that exists. Raises InvalidRequest."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise InvalidRequest(f"There is no parameter file '{path}'.")
    return file


def camera_parameters(cameras: Iterable[str]) -> dict[str, ParameterValue]:
    """Parameters for cameras written as `name:=topic`, with `:image` or `:compressed` behind the
    topic where its name does not tell. `front:=/front/image_raw`, `rear:=/rear/jpeg:compressed`.

    Raises InvalidRequest for what is not of this form.
    """
    parameters: dict[str, ParameterValue] = {}
    names: list[str] = []
    for each in cameras:
        found = _CAMERA.fullmatch(each)
        if found is None or not CAMERA_NAME.fullmatch(found["name"]):
            raise InvalidRequest(
                f"'{each}' names no camera; write name:=topic or name:=topic:compressed, for "
                "example front:=/front/image_raw."
            )
        if found["name"] in names:
            raise InvalidRequest(f"The camera '{found['name']}' is given twice; name it once.")
        names.append(found["name"])
        prefix = camera_prefix(found["name"])
        parameters[f"{prefix}topic"] = found["topic"]
        if found["type"]:
            parameters[f"{prefix}type"] = found["type"]
    if names:
        parameters["cameras"] = names
    return parameters
