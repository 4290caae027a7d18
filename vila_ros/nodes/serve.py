# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila serve`: the perception node from one command, where launch_ros is absent.

It does what launch/vila.launch.py does: reads a profile and a parameter file, configures and
activates the node. Later sources win: profile, --params-file, the other options, --ros-args.
"""

from __future__ import annotations

import argparse
import json
import os

from vila_ros.errors import InvalidRequest
from vila_ros.nodes.node_arguments import (
    ParameterValue,
    camera_parameters,
    parameter_file,
    profile_file,
    profiles,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.add_argument("--model", help="VILA checkpoint: a folder, or a name on the hub")
    parser.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME:=TOPIC[:compressed]",
        help="a camera; give it once for each",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help=f"platform: {', '.join(profiles()) or 'none found'}"
    )
    parser.add_argument("--params-file", metavar="FILE", help="ROS 2 parameter file")
    parser.add_argument("--namespace", help="namespace of the node")
    parser.add_argument("--log-level", choices=("debug", "info", "warn", "error"))
    parser.add_argument(
        "--no-activate",
        action="store_true",
        help="leave the node unconfigured, for a lifecycle manager",
    )
    parser.add_argument(
        "--ros-args",
        nargs=argparse.REMAINDER,
        default=[],
        help="everything behind it goes to ROS 2 as it is",
    )


def run(options: argparse.Namespace) -> int:
    """Run the node until Ctrl-C. Raises InvalidRequest for options that make no sense."""
    arguments = ros_arguments(options)
    # Camera images need more than Fast DDS's default transports carry. Read when ROS starts.
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")
    try:
        from vila_ros.nodes import vila_node
    except ImportError as error:
        raise InvalidRequest(
            f"ROS 2 cannot be imported ({error}); source it (source /opt/ros/…/setup.bash) and the "
            "workspace, or run `make setup` in a checkout."
        ) from error
    return vila_node.run(arguments, insist=True)


def ros_arguments(options: argparse.Namespace) -> list[str]:
    """The options as ROS 2 arguments."""
    arguments = ["--ros-args"]
    if options.profile:
        arguments += ["--params-file", str(profile_file(options.profile))]
    if options.params_file:
        arguments += ["--params-file", str(parameter_file(options.params_file))]
    parameters: dict[str, ParameterValue] = {"autostart": not options.no_activate}
    parameters.update(camera_parameters(options.camera))
    if options.model:
        parameters["engine.model"] = options.model
    for name, value in parameters.items():
        # JSON is YAML, and quotes what YAML would take for a number.
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    if options.namespace:
        arguments += ["-r", f"__ns:={'/' + options.namespace.strip('/')}"]
    if options.log_level:
        arguments += ["--log-level", options.log_level]
    return arguments + options.ros_args
