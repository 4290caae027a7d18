# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Replay a recording to the perception node, which this starts as vila.launch.py does.

ros2 launch vila_ros replay.launch.py bag:=/data/drive model:=/models/VILA1.5-3b profile:=rtx

The node watches the recording's cameras unless cameras or params_file names others. A large model
takes its time to load while the recording plays: loop:=true plays it until Ctrl-C.
"""

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    LaunchConfiguration,
    PathJoinSubstitution,
    ThisLaunchFileDir,
)
from launch_ros.actions import SetParameter
from launch_ros.substitutions import ExecutableInPackage

from vila_ros.bags.recorded_cameras import watched_cameras
from vila_ros.bags.recording import open_recording

PLAYER_ARGUMENTS = (
    ("bag", None, "rosbag2 folder, .mcap, .db3, folder of images, video or donkeycar tub"),
    ("rate", "1.0", "speed of playing"),
    ("loop", "false", "begin again at the end"),
    ("start", "0.0", "seconds to skip"),
    ("duration", "0.0", "seconds to play; 0 for all"),
    ("wait", "60.0", "seconds to wait until the node has subscribed"),
    ("use_sim_time", "false", "the node lives in the recording's time, by /clock"),
)
NODE_ARGUMENTS = (
    ("model", "", "VILA checkpoint: a folder, or a name on the hub; empty keeps the files' own"),
    ("profile", "", "platform profile; empty for none"),
    ("cameras", "", "name:=topic[:compressed], separated by spaces; empty for the recording's"),
    ("params_file", "", "parameter file; wins over the profile"),
    ("namespace", "", "namespace of the node"),
    ("log_level", "info", "debug, info, warn or error"),
)


def generate_launch_description() -> LaunchDescription:
    """The player, the node, and what their environment needs."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=says)
                for name, default, says in PLAYER_ARGUMENTS + NODE_ARGUMENTS
            ),
            SetEnvironmentVariable(
                "FASTDDS_BUILTIN_TRANSPORTS",
                os.environ.get("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA"),
            ),
            OpaqueFunction(function=replay),
        ]
    )


def replay(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Player and node with the arguments' values. Raises InvalidRecording, InvalidRequest."""
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name, _, _ in PLAYER_ARGUMENTS + NODE_ARGUMENTS
    }
    sim_time = is_true(given["use_sim_time"])
    if not given["cameras"] and not given["params_file"]:
        cameras = watched_cameras(open_recording(given["bag"]))
        given["cameras"] = " ".join(camera.argument for camera in cameras)
    options = [f"--{name}={given[name]}" for name in ("rate", "start", "duration", "wait")]
    options += ["--loop"] if is_true(given["loop"]) else []
    options += ["--clock"] if sim_time else []
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([ThisLaunchFileDir(), "vila.launch.py"])
        ),
        launch_arguments=[(name, given[name]) for name, _, _ in NODE_ARGUMENTS],
    )
    player = ExecuteProcess(
        cmd=[ExecutableInPackage("vila", "vila_ros"), "play", given["bag"], *options],
        name="vila_player",
        output="screen",
    )
    return [GroupAction([SetParameter("use_sim_time", sim_time), node]), player]


def is_true(value: str) -> bool:
    """A launch argument as a truth value."""
    return value.strip().lower() in ("true", "1", "yes", "on")
