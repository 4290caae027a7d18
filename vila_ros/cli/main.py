# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Entry point of the `vila` command: picks the verb, imports it alone, and reports errors."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from vila_ros import __version__
from vila_ros.errors import VilaError

# verb -> (module, one line of help). A module has add_arguments(parser) and run(args) -> int.
VERBS = {
    "serve": ("vila_ros.nodes.serve", "run the perception node without launch_ros"),
    "play": ("vila_ros.nodes.play", "publish a recording's cameras over ROS 2"),
    "describe": ("vila_ros.cli.describe", "ask one question about images"),
    "chat": ("vila_ros.cli.chat", "talk to a model about images"),
    "model": ("vila_ros.cli.model", "what a model folder holds and needs"),
    "parity": ("vila_ros.cli.parity", "recompute reference results and compare"),
    "finetune": ("vila_ros.cli.finetune", "train a model on your own recordings"),
    "engine": ("vila_ros.cli.engine", "what a TensorRT-LLM engine folder is, and if it runs here"),
    "build-engine": ("vila_ros.cli.build_engine", "build a TensorRT-LLM engine folder"),
    "verify-runtime": ("vila_ros.cli.verify_runtime", "check an installed runtime on its hardware"),
}


def build_parser(verb: str | None) -> argparse.ArgumentParser:
    """The parser; only the chosen verb's module is imported, so that every verb starts fast."""
    parser = argparse.ArgumentParser(prog="vila", description="Vision-language perception by VILA.")
    parser.add_argument("--version", action="version", version=f"vila_ros {__version__}")
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, says) in VERBS.items():
        command = commands.add_parser(name, help=says, description=says[0].upper() + says[1:] + ".")
        if name == verb:
            loaded = importlib.import_module(module)
            loaded.add_arguments(command)
            command.set_defaults(run=loaded.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. Errors of the package print one line and give exit status 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Spinning OpenMP threads slow torch several times on small machines; read when torch is loaded.
    for name, value in (
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("KMP_BLOCKTIME", "0"),
        ("GOMP_SPINCOUNT", "0"),
    ):
        os.environ.setdefault(name, value)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    options = build_parser(verb).parse_args(arguments)
    try:
        return int(options.run(options))
    except VilaError as error:
        print(f"vila {options.verb}: {error.message}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has gone; say nothing, as other commands do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
