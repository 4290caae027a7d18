# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila export`: recordings to training data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from vila_ros.datasets.export import PREVIEW, ExportReport, run_export
from vila_ros.datasets.plan import ExportOptions, LeRobotOptions
from vila_ros.datasets.split import METHODS, SplitRule
from vila_ros.datasets.writing.formats import FORMATS
from vila_ros.fleet.arguments import add_fleet_arguments, add_recordings_argument
from vila_ros.fleet.progress import ProgressLine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_recordings_argument(parser)
    parser.add_argument("--format", choices=FORMATS, default="vila", help="(%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--name", default="recordings", help="of the data set (%(default)s)")
    sources = parser.add_argument_group("what samples are made of")
    sources.add_argument("--template", type=Path, metavar="FILE", help="questions by template")
    sources.add_argument(
        "--annotations", type=Path, nargs="+", default=[], metavar="DIR", help="reviewed ones"
    )
    sources.add_argument(
        "--logged",
        action=argparse.BooleanOptionalAction,
        help="what the robot was asked and answered (default: where nothing else is named)",
    )
    pictures = parser.add_argument_group("pictures")
    pictures.add_argument(
        "--cameras", nargs="+", default=[], metavar="CAMERA", help="names, topics or NAME=TOPIC"
    )
    pictures.add_argument("--rate", type=float, metavar="HZ", help="of images without times")
    pictures.add_argument(
        "--quality", type=int, default=95, help="of JPEGs that are encoded (%(default)s)"
    )
    pictures.add_argument(
        "--blur", default="", metavar="MODULE:FUNCTION", help="hides faces and plates"
    )
    split = parser.add_argument_group("training and validation")
    split.add_argument("--split", choices=METHODS, default="auto", help="(%(default)s)")
    split.add_argument("--val", type=float, default=0.1, help="part of the time (%(default)s)")
    split.add_argument(
        "--gap", type=float, default=2.0, help="seconds unused at a border (%(default)s)"
    )
    split.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    lerobot = parser.add_argument_group("LeRobot")
    lerobot.add_argument("--fps", type=int, default=0, help="frames a second (the cameras')")
    lerobot.add_argument("--state", nargs="+", default=[], metavar="VALUE", help="of the template")
    lerobot.add_argument("--action", nargs="+", default=[], metavar="VALUE", help="likewise")
    lerobot.add_argument("--task", default="", help="what the robot did, in words")
    lerobot.add_argument(
        "--no-language",
        action="store_true",
        help="leave out the column of questions, for LeRobot up to 0.4 (meta/vqa.jsonl has them)",
    )
    add_fleet_arguments(parser)
    parser.add_argument(
        "--slice", type=float, default=120.0, metavar="S", help="seconds of a task (%(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="for encoding in each worker (all cores)"
    )


def run(args: argparse.Namespace) -> int:
    """Export, and say what was made."""
    options = ExportOptions(
        recordings=tuple(args.recordings),
        format=args.format,
        name=args.name,
        template=args.template,
        annotations=tuple(args.annotations),
        logged=args.logged,
        cameras=tuple(args.cameras),
        split=SplitRule(args.split, args.val, args.gap, args.seed),
        quality=args.quality,
        hook=args.blur,
        slice=args.slice,
        rate=args.rate,
        threads=args.threads,
        lerobot=LeRobotOptions(
            args.fps, tuple(args.state), tuple(args.action), args.task, not args.no_language
        ),
    )
    with ProgressLine("s", "tasks") as line:
        report = run_export(options, args.out, workers=args.workers, ray=args.ray, progress=line)
    for text in report.warnings:
        print(f"warning: {text}", file=sys.stderr)
    print(describe(report))
    return 0


def describe(report: ExportReport) -> str:
    """What was made, for people."""
    numbers, pictures = report.statistics["samples"], report.statistics["pictures"]
    lines = [
        f"{numbers['train']} samples for training, {numbers['val']} for validation",
        f"{pictures['files']} pictures, "
        + (f"{pictures['bytes'] / 1e6:.1f} MB: " if pictures["bytes"] else "in videos: ")
        + f"{pictures['copied']} copied, {pictures['encoded']} encoded, "
        f"{pictures['blurred']} blurred",
    ]
    lines += [f"{count} left out: {why}" for why, count in report.statistics["left_out"].items()]
    lines.append(f"look at it: {report.out / PREVIEW}")
    if report.already:
        lines.insert(0, f"'{report.out}' is complete already; nothing was done")
    return "\n".join(lines)
