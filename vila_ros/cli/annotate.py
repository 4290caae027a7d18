# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila annotate`: find the moments of recordings that are worth a look, and draft annotations."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from vila_ros.annotation.duplicates import Likeness
from vila_ros.annotation.motion import MotionLimits
from vila_ros.annotation.run import Fleet, Outcome, annotate
from vila_ros.annotation.settings import DEFAULT_QUESTION, AnnotationSettings, VisionSpec
from vila_ros.cli.engine_arguments import (
    AUTO,
    DEFAULT_MODEL,
    TORCH_ARGUMENTS,
    add_runtime_arguments,
    engine_spec,
)
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest
from vila_ros.fleet.arguments import add_fleet_arguments, add_recordings_argument
from vila_ros.fleet.progress import ProgressLine
from vila_ros.fleet.types import Progress

NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_recordings_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="look so often (1 s)")
    parser.add_argument("--camera", action="append", default=[], help="name or topic; repeatable")
    parser.add_argument("--most", type=int, default=1000, help="candidates at most (%(default)s)")
    parser.add_argument(
        "--skip-failed", action="store_true", help="finish without recordings that cannot be read"
    )
    _add_model_arguments(parser.add_argument_group("the model that answers and drafts"))
    _add_mining_arguments(parser.add_argument_group("what is looked for"))
    add_fleet_arguments(parser)


def _add_model_arguments(group: Any) -> None:
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="folder, hub id, a server's model, or none (%(default)s)",
    )
    group.add_argument("--second-model", metavar="MODEL", help="to compare answers with")
    group.add_argument(
        "--vision-model", metavar="MODEL", help="for embeddings, or none (with torch: --model)"
    )
    add_runtime_arguments(group)
    group.add_argument("--no-drafts", action="store_true", help="mine only")
    group.add_argument("--no-regions", action="store_true", help="draft no boxes")


def _add_mining_arguments(group: Any) -> None:
    group.add_argument(
        "--ask",
        action="append",
        metavar="QUESTION",
        help=f"a frame counts when this is answered yes; repeatable ({DEFAULT_QUESTION})",
    )
    group.add_argument(
        "--opposite", nargs=2, action="append", default=[], metavar="QUESTION",
        help="two questions that never have the same answer; a frame counts where they do",
    )  # fmt: skip
    group.add_argument(
        "--same", nargs=2, action="append", default=[], metavar="QUESTION",
        help="two questions that always have the same answer",
    )  # fmt: skip
    group.add_argument(
        "--confidence", type=float, default=0.6, help="less counts as doubt, 0 is off (%(default)s)"
    )
    group.add_argument(
        "--novelty", type=float, default=0.02, help="share of frames at most (%(default)s)"
    )
    limits = MotionLimits()
    group.add_argument("--no-motion", action="store_true", help="no hard braking or steering")
    for name, unit in (
        ("deceleration", "m/s²"),
        ("lateral-acceleration", "m/s²"),
        ("yaw-rate", "rad/s"),
        ("steering-rate", "rad/s"),
    ):
        default = getattr(limits, name.replace("-", "_"))
        group.add_argument(
            f"--{name}", type=float, default=default, metavar="X", help=f"{unit} (%(default)s)"
        )
    group.add_argument(
        "--steering-scale", type=float, default=1.0, metavar="X",
        help="rad a unit of steering that is a plain number (%(default)s)",
    )  # fmt: skip
    like = Likeness()
    group.add_argument(
        "--apart", type=float, default=like.apart, metavar="S", help="one moment (%(default)s s)"
    )
    group.add_argument(
        "--alike-bits", type=int, default=like.bits, help="of 64 that may differ (%(default)s)"
    )
    group.add_argument(
        "--alike-distance", type=float, default=like.distance, help="1 - cosine (%(default)s)"
    )


def settings_of(args: argparse.Namespace) -> AnnotationSettings:
    """What the arguments ask for. Raises InvalidRequest."""
    engine = None if args.model == NONE else _engine(args, args.model)
    second = _engine(args, args.second_model) if args.second_model else None
    own = args.model if args.runtime == "torch" else NONE
    vision = args.vision_model or own
    limits = MotionLimits(
        args.deceleration, args.lateral_acceleration, args.yaw_rate, args.steering_rate
    )
    return AnnotationSettings(
        every=args.every,
        cameras=tuple(args.camera),
        limits=None if args.no_motion else limits,
        steering_scale=args.steering_scale,
        vision=None if vision == NONE else _vision(args, vision),
        novelty=args.novelty,
        engine=engine,
        second=second,
        questions=tuple(args.ask or (DEFAULT_QUESTION,)),
        same=tuple(map(tuple, args.same)),
        opposite=tuple(map(tuple, args.opposite)),
        confidence=args.confidence,
        likeness=Likeness(args.apart, args.alike_bits, args.alike_distance),
        most=args.most,
        drafts=not args.no_drafts,
        regions=not args.no_regions,
    )


def _engine(args: argparse.Namespace, model: str) -> EngineSpec:
    """With another runtime than torch --device and --dtype are of the vision tower alone."""
    return engine_spec(args, model, TORCH_ARGUMENTS if args.runtime == "torch" else ())


def _vision(args: argparse.Namespace, model: str) -> VisionSpec:
    return VisionSpec(model, args.device or AUTO, args.dtype or AUTO)


def run(args: argparse.Namespace) -> int:
    """Mine and draft; 1 where something could not be read."""
    settings = settings_of(args)
    with ProgressLine("s", "scans") as scan, ProgressLine("candidates", "parts") as draft:
        lines = {"scan": scan, "draft": draft}

        def told(stage: str, progress: Progress) -> None:
            lines[stage](progress)

        fleet = Fleet(args.workers, args.ray, told)
        outcome = annotate(args.recordings, args.out, settings, fleet, args.skip_failed)
    report(outcome, args.out)
    if outcome.failed and not outcome.complete:
        count = len(outcome.failed)
        raise InvalidRequest(
            f"{count} part{'s' * (count != 1)} failed; run the same again to try once more, or "
            "with --skip-failed to finish without."
        )
    return 0


def report(outcome: Outcome, out: Path) -> None:
    """Say what was found, and what was not read."""
    for warning in outcome.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    for failure in outcome.failed:
        print(f"failed: {failure}", file=sys.stderr)
    if not outcome.complete:
        return
    if outcome.was_complete:
        print(f"{out} was complete already.")
    miners = Counter(
        miner
        for candidate in outcome.candidates
        for miner in {reason.miner for reason in candidate.reasons}
    )
    looked = f" of {outcome.frames} frames" if outcome.frames else ""
    count = len(outcome.candidates)
    print(f"{count} candidate{'s' * (count != 1)}{looked}")
    for miner, count in sorted(miners.items(), key=lambda each: (-each[1], each[0])):
        print(f"{count:8}  {miner}")
    print(f"review them: vila review {out}")
