# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command-line arguments of every verb that works over many recordings."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_recordings_argument(parser: argparse.ArgumentParser) -> None:
    """The recordings, one or more."""
    parser.add_argument(
        "recordings",
        nargs="+",
        type=Path,
        metavar="BAG",
        help="rosbag2 folder, .mcap, .db3, folder of images, video or donkeycar tub",
    )


def add_fleet_arguments(parser: argparse.ArgumentParser) -> None:
    """--workers and --ray, for run_tasks()."""
    group = parser.add_argument_group("over many recordings")
    group.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, each with its own model (%(default)s)",
    )
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="a Ray cluster instead: HOST:PORT, or auto; all nodes see the same files",
    )
