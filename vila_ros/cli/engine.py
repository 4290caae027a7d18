# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila engine`: what an engine folder is and whether it runs here; no GPU is needed to ask."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vila_ros.engine.engine_folder import EngineFolder
    from vila_ros.engine.machine import Machine
    from vila_ros.engine.preflight import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    verbs = parser.add_subparsers(dest="engine_verb", metavar="VERB", required=True)
    info = verbs.add_parser("info", help="check an engine folder")
    info.add_argument("folder", type=Path, metavar="ENGINE_DIR")
    info.add_argument("--checkpoint", type=Path, help="VILA folder, where the engine has none")
    info.add_argument("--visual-engine-dir", type=Path, help="where it stands alone (0.12)")
    info.add_argument("--no-checksums", action="store_true", help="do not read the engines whole")
    info.add_argument("--json", action="store_true", help="for programs")
    seal = verbs.add_parser("seal", help="finish a build: tokenizer, configuration, checksums")
    seal.add_argument("folder", type=Path, metavar="ENGINE_DIR")
    seal.add_argument("--model", type=Path, required=True, metavar="DIR")
    seal.add_argument("--precision", default="int4_awq")
    seal.add_argument("--architecture", help="what the engine must be of, such as sm_87")
    seal.add_argument("--conversation", help="conversation template, by name")
    seal.add_argument("--vision-tower", action="store_true", help="copy the vision weights, too")
    platforms = verbs.add_parser("platforms", help="what fits into which machine, computed")
    platforms.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Run the chosen verb; `info` gives 1 for a folder that cannot run here."""
    return {"info": _info, "seal": _seal, "platforms": _platforms}[args.engine_verb](args)


def _info(args: argparse.Namespace) -> int:
    from vila_ros.engine.engine_folder import read_engine_folder
    from vila_ros.engine.machine import this_machine
    from vila_ros.engine.preflight import Level, inspect_folder

    folder = read_engine_folder(
        args.folder, visual_engine_dir=args.visual_engine_dir, checkpoint=args.checkpoint
    )
    machine = this_machine()
    findings = inspect_folder(folder, machine, checksums=not args.no_checksums)
    if args.json:
        print(json.dumps(as_json(folder, machine, findings), indent=2))
    else:
        print("\n".join(as_lines(folder, findings)))
    return 1 if any(finding.level is Level.ERROR for finding in findings) else 0


def as_json(folder: EngineFolder, machine: Machine, findings: list[Finding]) -> dict[str, Any]:
    """The description as JSON values."""
    from vila_ros.engine.preflight import image_limits

    language, limits = folder.language, image_limits(folder)
    return {
        "folder": str(folder.root),
        "language": {
            "version": language.version,
            "architecture": language.architecture,
            "dtype": language.dtype,
            "quantization": language.quantization,
            "max_batch_size": language.max_batch_size,
            "max_input_len": language.max_input_len,
            "max_seq_len": language.max_seq_len,
            "max_multimodal_len": language.table_rows,
        },
        "visual": folder.visual.file.name if folder.visual is not None else None,
        "images": limits.images,
        "rows_per_image": limits.rows_per_image,
        "built_for": folder.manifest.architecture if folder.manifest is not None else None,
        "machine": {
            "gpu": machine.gpu.architecture if machine.gpu is not None else None,
            "tensorrt_llm": machine.tensorrt_llm,
        },
        "findings": [
            {"level": each.level.value, "about": each.about, "text": each.text} for each in findings
        ],
    }


def as_lines(folder: EngineFolder, findings: list[Finding]) -> list[str]:
    """The description for people, then one line a check."""
    language = folder.language
    said = [
        ("folder", str(folder.root)),
        ("language engine", f"{language.architecture}, {language.quantization or language.dtype}"),
        (
            "limits",
            f"batch {language.max_batch_size}, input {language.max_input_len}, sequence "
            f"{language.max_seq_len}, image rows {language.table_rows}",
        ),
    ]
    lines = [f"{label:<16}{text}" for label, text in said]
    return [*lines, "", *(f"{each.level.value:<12}{each.about}: {each.text}" for each in findings)]


def _seal(args: argparse.Namespace) -> int:
    from vila_ros.engine.machine import this_machine
    from vila_ros.engine.sealing import seal_engine

    manifest = seal_engine(
        args.folder,
        args.model,
        this_machine(),
        precision=args.precision,
        architecture=args.architecture,
        conversation=args.conversation,
        vision_tower=args.vision_tower,
    )
    print(f"{args.folder} is complete: {manifest.model} for {manifest.architecture}")
    return 0


def _platforms(args: argparse.Namespace) -> int:
    from vila_ros.engine.deployment import all_fits, as_markdown

    fits = all_fits()
    if args.json:
        rows = [
            {
                "platform": each.platform.name,
                "model": each.model,
                "precision": each.precision,
                "weights": each.weights,
                "context": each.context,
                "frames": each.frames,
                "published_tokens_per_second": each.published,
            }
            for each in fits
        ]
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(as_markdown(fits)))
        print("\nComputed, not measured; published speeds are TinyChat's, another runtime.")
    return 0
