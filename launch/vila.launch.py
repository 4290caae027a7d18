# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Start the perception node; it configures and activates itself.

ros2 launch vila_ros vila.launch.py model:=/models/VILA1.5-3b profile:=rtx \
    cameras:="front:=/front/image_raw rear:=/rear/image_raw/compressed"
"""

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from vila_ros.nodes.node_arguments import (
    camera_parameters,
    parameter_file,
    profile_file,
    profiles,
)

ARGUMENTS = (
    ("model", "", "VILA checkpoint: a folder, or a name on the hub; empty keeps the files' own"),
    ("profile", "", f"platform profile: one of {', '.join(profiles())}; empty for none"),
    ("cameras", "", "name:=topic[:compressed], separated by spaces; empty keeps the files' own"),
    ("params_file", "", "parameter file; wins over the profile"),
    ("namespace", "", "namespace of the node"),
    ("name", "vila", "name of the node"),
    ("autostart", "true", "configure and activate the node; false leaves it to you"),
    ("respawn", "true", "start the node again, and activate it, when it dies"),
    ("log_level", "info", "debug, info, warn or error"),
)


def generate_launch_description() -> LaunchDescription:
    """The node, its arguments, and what its environment needs."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=says)
                for name, default, says in ARGUMENTS
            ),
            # Camera images need more than Fast DDS's default transports carry; the cameras'
            # drivers need it as well, in the environment that they are launched in.
            SetEnvironmentVariable(
                "FASTDDS_BUILTIN_TRANSPORTS",
                os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
            ),
            OpaqueFunction(function=perception),
        ]
    )


def perception(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The node with the arguments' values. Raises InvalidRequest for those that make no sense."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    parameters: list[object] = []
    if given["profile"]:
        parameters.append(str(profile_file(given["profile"])))
    if given["params_file"]:
        parameters.append(str(parameter_file(given["params_file"])))
    overrides = camera_parameters(given["cameras"].split())
    # By a parameter, not by lifecycle events of the launch system: these get lost when the node
    # has been killed, for its services then linger in the graph while it is already respawned.
    overrides["autostart"] = is_true(given["autostart"])
    if given["model"]:
        overrides["engine.model"] = given["model"]
    parameters.append(overrides)
    node = LifecycleNode(
        package="vila_ros",
        executable="vila_node",
        name=given["name"],
        namespace=given["namespace"],
        parameters=parameters,
        arguments=["--ros-args", "--log-level", given["log_level"]],
        respawn=is_true(given["respawn"]),
        respawn_delay=2.0,
        output="screen",
    )
    return [node]


def is_true(value: str) -> bool:
    """A launch argument as a truth value."""
    return value.strip().lower() in ("true", "1", "yes", "on")
