# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila simulate`: a rendered drive with its ground truth, as a recording to try the others on."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from vila_ros.errors import InvalidRequest

MAX_SIDE = 2048
"""Pixels of a picture's width and height at most."""


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

    if args.seed < 0:
        raise InvalidRequest(f"--seed is {args.seed}; it must be at least 0")
    truths = write_drive(
        args.out, args.seed, args.seconds, args.rate, parse_size(args.size), args.storage
    )
    topics = ", ".join((CAMERA_TOPIC, SPEED_TOPIC, TRUTH_TOPIC))
    print(f"{args.out}: {len(truths)} frames over {args.seconds:g} s; topics {topics}")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "640x480". Raises InvalidRequest."""
    found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    # The renderer crashes the process over sizes that it cannot hold.
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InvalidRequest(
            f"--size is {text!r}; it is WIDTHxHEIGHT in pixels, each from 1 to {MAX_SIDE}, as "
            "640x480"
        )
    return width, height
