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
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from vila_ros.errors import VilaError
from vila_ros.nodes.demo.material import DRIVE_SECONDS, LONGEST_SECONDS, Material, prepare
from vila_ros.nodes.demo.questions import DEFAULT_QUESTIONS, WRONG_CAMERA, DemoQuestion

PAGE = Path("demo_out") / "index.html"
SEED = 7


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
        "default: a drive simulated on the spot",
    )
    parser.add_argument(
        "--model", default="", help="VILA checkpoint, folder or hub name; default: vila-nano-int4"
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, help=f"of the simulated drive; default {SEED}"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.0,
        help=f"how much is played; default {DRIVE_SECONDS:g}, or {LONGEST_SECONDS:g} of --bag",
    )
    parser.add_argument(
        "--page", type=Path, default=PAGE, help=f"the page that is written; default {PAGE}"
    )
    parser.add_argument(
        "--open", action="store_true", help="open the page in a browser when it is written"
    )
    parser.add_argument(
        "--questions", nargs="+", default=[], metavar="TEXT", help="what to ask instead"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; exit status 0 only if every answer was right about its frames.

    Whether it says what is true is the model's matter, and shown.
    """
    options = build_parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    # A recording's warnings are shown in their place.
    logging.getLogger("vila_ros").addHandler(logging.NullHandler())
    folder = Path(tempfile.mkdtemp(prefix="vila_ros_demo_"))
    succeeded = False
    try:
        succeeded = _run(options, folder)
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


def _run(options: argparse.Namespace, folder: Path) -> bool:
    """Prepare, tell, write the page; whether every question ended as it should."""
    # Here, since they load ROS.
    from vila_ros.nodes.demo.page import write_page
    from vila_ros.nodes.demo.screen import Screen
    from vila_ros.nodes.demo.story import tell

    screen = Screen()

    def rendered(done: int, all_of_them: int) -> None:
        screen.bar(done / all_of_them, f"simulating a drive, picture {done} of {all_of_them}")

    material = prepare(options.bag, options.model, options.seconds, folder, options.seed, rendered)
    screen.live("")
    record = tell(screen, material, _questions(options, material), folder)
    page = write_page(options.page, material, record)
    screen.line(f"  Page: {page.as_uri()}")
    if options.open:
        webbrowser.open(page.as_uri())
    return record.sound == len(record.answered)


def _questions(options: argparse.Namespace, material: Material) -> tuple[DemoQuestion, ...]:
    """The user's, else those about the simulated drive, else general ones."""
    from vila_ros.nodes.demo.known import known_questions

    if options.questions:
        return tuple(map(DemoQuestion, options.questions))
    if material.seed is not None:
        known = known_questions(material.truths, material.seconds, material.seed)
        if known:
            return (*known, WRONG_CAMERA)
    return DEFAULT_QUESTIONS


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the demonstration as Ctrl-C does, children included."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
