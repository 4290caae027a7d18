# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila replay`: what the robot would have said along its recordings."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

from vila_ros.cli.describe import DEFAULT_PROMPT, read_schema
from vila_ros.cli.engine_arguments import add_engine_spec_arguments, engine_spec
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.asker import Asker
from vila_ros.evaluation.durations import parse_duration
from vila_ros.evaluation.replaying import (
    Described,
    ReplayOutcome,
    ReplaySettings,
    check_described,
    replay_plan,
    replay_to_folder,
)
from vila_ros.fleet.arguments import add_fleet_arguments, add_recordings_argument
from vila_ros.fleet.progress import ProgressLine
from vila_ros.perception.plain_text import plain

SAMPLINGS = ("latest", "uniform", "keyframes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_recordings_argument(parser)
    parser.add_argument("--every", default="2s", metavar="TIME", help="as 2s, 500ms (%(default)s)")
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, help="the question (%(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write a recording of the descriptions for each, and their answers as JSON lines",
    )
    parser.add_argument("--with-images", action="store_true", help="copy the cameras into it")
    parser.add_argument("--storage", default="mcap", choices=("mcap", "sqlite3"))
    parser.add_argument("--start", default="0s", metavar="TIME", help="skip the beginning")
    parser.add_argument("--duration", default="0s", metavar="TIME", help="of each; 0: to its end")
    parser.add_argument(
        "--frame-rate", type=float, metavar="HZ", help="where a source has no times"
    )
    group = parser.add_argument_group("what is asked, as of the node")
    group.add_argument("--camera", action="append", default=[], help="repeat for several (all)")
    group.add_argument("--window", default="2s", metavar="TIME", help="looked back (%(default)s)")
    group.add_argument("--max-frames", type=int, default=4, help="(%(default)s)")
    group.add_argument("--sampling", default="uniform", choices=SAMPLINGS)
    group.add_argument("--max-tokens", type=int, default=128, help="(%(default)s)")
    group.add_argument("--json-schema", type=Path, metavar="FILE", help="what answers must be")
    add_engine_spec_arguments(parser)
    add_fleet_arguments(parser)


def settings_of(args: argparse.Namespace) -> ReplaySettings:
    """What the arguments ask for. Raises InvalidRequest, InvalidSchema."""
    fields: dict[str, Any] = {
        "prompt": args.prompt,
        "cameras": args.camera,
        "window": parse_duration(args.window, "--window"),
        "max_frames": args.max_frames,
        "sampling": args.sampling,
        "max_tokens": args.max_tokens,
    }
    if args.json_schema:
        fields["json_schema"] = read_schema(args.json_schema)
    every = parse_duration(args.every, "--every")
    if every < 0.001:
        raise InvalidRequest(f"--every is {args.every}; it must be at least 1ms.")
    return ReplaySettings(
        engine=engine_spec(args, args.model),
        every=every,
        fields=fields,
        seed=args.seed,
        start=parse_duration(args.start, "--start"),
        duration=parse_duration(args.duration, "--duration"),
        frame_rate=args.frame_rate,
        with_images=args.with_images,
        storage=args.storage,
    )


def run(args: argparse.Namespace) -> int:
    """Describe, and write where that is asked for; 1 where something could not be described."""
    settings = settings_of(args)
    if args.out is None:
        if args.workers != 1 or args.ray:
            raise InvalidRequest("--workers and --ray need --out, a folder for what they make.")
        if args.with_images:
            raise InvalidRequest("--with-images needs --out, a folder for the recordings.")
        return _replay_to_terminal(args.recordings, settings)
    several = len(args.recordings) > 1
    logging.getLogger("vila_ros.bags").setLevel(logging.ERROR)  # warnings are told at the end
    with ProgressLine("recorded s", "parts") as line:

        def tell(described: Described) -> None:
            line.clear()
            _print(described, several)

        outcome = replay_to_folder(
            args.recordings,
            settings,
            args.out,
            workers=args.workers,
            ray=args.ray,
            tell=tell,
            progress=line,
        )
    return _conclude(outcome, args.out)


def _replay_to_terminal(paths: list[Path], settings: ReplaySettings) -> int:
    described = failed = 0
    recorded, started = 0.0, time.monotonic()
    for path in paths:
        if len(paths) > 1:
            print(f"{path}:")
        with Asker(replay_plan(path, settings)) as asker:
            for _, asked in asker.answers():
                if asked.answer is None:
                    continue
                error = asked.answer.error
                failed += error is not None
                described += error is None
                seconds = (asked.asking.stamp_ns - asker.plan.origin_ns) / 1e9
                said = error.message if error else ""
                _print(Described("", seconds, asked.answer.text, said), several=False)
            recorded += (asker.plan.end_ns - asker.plan.start_ns) / 1e9
            for warning in asker.replay.dropped():
                print(f"  {warning}", file=sys.stderr)
    check_described(described + failed)
    took = time.monotonic() - started
    speed = f", {recorded / took:.1f} times as fast as it was recorded" if took > 0 else ""
    print(f"{recorded:.1f} s in {took:.1f} s{speed}.", file=sys.stderr)
    return 1 if failed else 0


def _conclude(outcome: ReplayOutcome, out: Path) -> int:
    for warning in outcome.warnings:
        print(f"  {warning}", file=sys.stderr)
    for name, why in outcome.unreadable.items():
        print(f"vila replay: {name} was left out: {why}", file=sys.stderr)
    if outcome.already:
        print(f"{out} is complete already; nothing was done.")
    print(f"{out}: {outcome.described} descriptions, {outcome.failed} failed.")
    return 1 if outcome.failed or outcome.unreadable else 0


def _print(described: Described, several: bool) -> None:
    name = f"{described.recording}  " if several else ""
    text = f"(failed) {described.error}" if described.error else described.text
    print(f"{name}{described.seconds:8.1f} s  {plain(text)}", flush=True)
