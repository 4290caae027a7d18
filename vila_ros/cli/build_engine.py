# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila build-engine`: a VILA folder to a TensorRT-LLM engine folder, stage by stage, resumable."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vila_ros.engine.build_plan import BuildOptions, BuildPlan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", type=Path, metavar="DIR", help="VILA1.5 folder")
    parser.add_argument("--profile", required=True, help="agx_orin or rtx")
    parser.add_argument("--out", type=Path, required=True, metavar="ENGINE_DIR")
    parser.add_argument("--precision", default="int4_awq", help="int4_awq or float16")
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="typical camera images, for int4_awq"
    )
    parser.add_argument("--samples", type=int, help="images to calibrate with")
    parser.add_argument("--images", type=int, help="images of one question")
    parser.add_argument("--max-batch-size", type=int, help="questions answered side by side")
    parser.add_argument("--conversation", help="conversation template, by name")
    parser.add_argument("--no-visual", action="store_true", help="run the vision tower in torch")
    parser.add_argument("--until", metavar="STAGE", help="stop after a stage")
    parser.add_argument(
        "--quantise-python", default=sys.executable, help="interpreter with nvidia-modelopt"
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter with tensorrt")
    parser.add_argument("--trtllm-build", default="trtllm-build", help="that program")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, do nothing")


def run(args: argparse.Namespace) -> int:
    """Print the plan, and run it unless that was all."""
    from vila_ros.engine.build_plan import plan_build
    from vila_ros.engine.build_run import run_build

    plan = plan_build(args.model, args.out, args.profile, options_of(args))
    print("\n".join(as_lines(plan)), flush=True)
    if args.dry_run:
        return 0
    run_build(plan, lambda line: print(line, flush=True), args.until)
    return 0


def options_of(args: argparse.Namespace) -> BuildOptions:
    """The arguments as the plan takes them."""
    from vila_ros.engine.build_plan import BuildOptions

    further = {"samples": args.samples} if args.samples is not None else {}
    return BuildOptions(
        precision=args.precision,
        calibration=args.calibration,
        images=args.images,
        max_batch_size=args.max_batch_size,
        conversation=args.conversation,
        visual=not args.no_visual,
        quantise_python=args.quantise_python,
        python=args.python,
        trtllm_build=args.trtllm_build,
        **further,
    )


def as_lines(plan: BuildPlan) -> list[str]:
    """The plan for people: what it needs, then each stage with its command."""
    limits, profile = plan.limits, plan.profile
    lines = [
        f"{plan.model} -> {plan.out}",
        f"for {profile.platform}, tensorrt_llm {profile.tensorrt_llm}, "
        f"{profile.architecture or 'the GPU of the machine that builds'}",
        f"a question holds {limits.images} images of {limits.rows_per_image} tokens, a prompt of "
        f"{limits.max_input_len} and prompt with answer {limits.max_seq_len} tokens",
        f"needs {_size(plan.disk)} of disk in all, and at most "
        f"{_size(max(stage.needs.memory for stage in plan.stages))} of memory (estimated)",
        *(f"note: {warning}" for warning in plan.warnings),
    ]
    for number, stage in enumerate(plan.stages, 1):
        needs = stage.needs
        parts = f"disk {_size(needs.disk)}, memory {_size(needs.memory)}"
        parts += f", GPU {_size(needs.gpu)}" if needs.gpu else ""
        lines += [
            "",
            f"[{number}/{len(plan.stages)}] {stage.name}: {stage.says}",
            f"    {parts} ({needs.how})",
            f"    {shlex.join(stage.command)}",
        ]
    return [*lines, ""]


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
