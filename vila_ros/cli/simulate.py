# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila simulate`: a rendered drive with its ground truth, as a recording to try the others on."""

from __future__ import annotations

import argparse
from pathlib import Path

from vila_ros.errors import InvalidRequest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("out", type=Path, metavar="DIR", help="a new folder: the recording")
    parser.add_argument("--seed", type=int, default=0, help="another drive (%(default)s)")
    parser.add_argument("--seconds", type=float, default=26.0, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second (%(default)s)")
    parser.add_argument("--size", default="640x480", metavar="WxH", help="pixels (%(default)s)")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")


def run(args: argparse.Namespace) -> int:
    """Render and record."""
    from vila_ros.bags.drive_recording import CAMERA_TOPIC, SPEED_TOPIC, TRUTH_TOPIC
    from vila_ros.simulation.drive import write_drive

    truths = write_drive(
        args.out, args.seed, args.seconds, args.rate, parse_size(args.size), args.storage
    )
    topics = ", ".join((CAMERA_TOPIC, SPEED_TOPIC, TRUTH_TOPIC))
    print(f"{args.out}: {len(truths)} frames over {args.seconds:g} s; topics {topics}")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "640x480". Raises InvalidRequest."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidRequest(f"--size is {text!r}; it is WIDTHxHEIGHT in pixels, as 640x480")
    return int(width), int(height)
