# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Command line of the demonstration: python -m vila_ros.nodes.demo."""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vila_ros.errors import VilaError
from vila_ros.nodes.demo.material import prepare
from vila_ros.nodes.demo.questions import DEFAULT_QUESTIONS, DemoQuestion


def build_parser() -> argparse.ArgumentParser:
    """The arguments; without any, everything needed is made on the spot."""
    parser = argparse.ArgumentParser(
        prog="python -m vila_ros.nodes.demo",
        description="Replay a recording to the real node over DDS, ask questions, check answers.",
    )
    parser.add_argument(
        "--bag",
        default="",
        help="rosbag2 folder, .mcap, .db3, folder of images, video or donkeycar tub (.tar.gz); "
        "default: a drive drawn on the spot",
    )
    parser.add_argument(
        "--model", default="", help="VILA checkpoint, folder or hub name; default: a random one"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.0, help="how much is played; default 12, or 30 of --bag"
    )
    parser.add_argument(
        "--questions", nargs="+", default=[], metavar="TEXT", help="what to ask instead"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; exit status 0 only if every answer was right about its frames."""
    options = build_parser().parse_args(arguments)
    questions = tuple(map(DemoQuestion, options.questions)) or DEFAULT_QUESTIONS
    signal.signal(signal.SIGTERM, _interrupt)
    # A recording's warnings are shown in their place.
    logging.getLogger("vila_ros").addHandler(logging.NullHandler())
    folder = Path(tempfile.mkdtemp(prefix="vila_ros_demo_"))
    succeeded = False
    try:
        material = prepare(options.bag, options.model, options.seconds, folder)
        # Here, since it loads ROS.
        from vila_ros.nodes.demo.story import tell

        succeeded = tell(material, questions, folder)
    except VilaError as error:
        print(f"\ndemo: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ndemo: interrupted", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    if succeeded:
        shutil.rmtree(folder, ignore_errors=True)
    elif logs := sorted(folder.glob("*.log")):
        print(f"Logs: {' '.join(map(str, logs))}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if succeeded else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demonstration as Ctrl-C does, children included."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
