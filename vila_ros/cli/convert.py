# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila convert`: an int4 VILA folder to another int4 format, exactly or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path

from vila_ros.cli.quantize import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", metavar="DIR", help="int4 checkpoint folder, or a hub id")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")


def run(args: argparse.Namespace) -> int:
    """Convert."""
    from vila_ros.model.checkpoint import locate
    from vila_ros.quantization.int4_writer import convert_folder

    folder = locate(args.model, args.revision)
    convert_folder(folder, args.out, args.to, lambda line: print(line, flush=True))
    print(f"written to {args.out}")
    return 0
