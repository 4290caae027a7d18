# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The command-line arguments that choose an engine, for verbs that work over recordings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest

AUTO = "auto"
"""Torch's device or dtype where none is named."""
TORCH_ARGUMENTS = ("device", "dtype", "threads")
DEFAULT_MODEL = "Efficient-Large-Model/VILA1.5-3b"


def add_engine_spec_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """--model (more than once where several), --runtime and what the runtime needs."""
    group = parser.add_argument_group("the model")
    if several:
        group.add_argument(
            "--model",
            action="append",
            metavar="[NAME:=]MODEL",
            help=f"folder, hub id or a server's model; repeat to compare ({DEFAULT_MODEL})",
        )
    else:
        group.add_argument(
            "--model",
            default=DEFAULT_MODEL,
            help="folder, hub id or a server's model (%(default)s)",
        )
    add_runtime_arguments(group)
    group.add_argument("--seed", type=int, default=0, help="of sampling (%(default)s)")


def add_runtime_arguments(group: Any) -> None:
    """--runtime and what it needs, for engine_spec()."""
    group.add_argument("--runtime", default="torch", help="how it runs (%(default)s)")
    group.add_argument(
        "--engine-options", default="{}", metavar="JSON", help="further options of the runtime"
    )
    add_torch_arguments(group)


def add_torch_arguments(group: Any) -> None:
    """--device, --dtype and --threads; those not given are None."""
    group.add_argument("--device", help="of torch: auto (the default), cpu or cuda")
    group.add_argument("--dtype", help="of torch: auto (the default), float32, bfloat16 or float16")
    group.add_argument("--threads", type=int, help="CPU threads of torch")


def engine_spec(
    args: argparse.Namespace, model: str, names: Sequence[str] = TORCH_ARGUMENTS
) -> EngineSpec:
    """The engine that the arguments ask for, for one model. Raises InvalidRequest.

    names: the arguments that are options of the runtime, beside --engine-options.
    """
    try:
        options: Any = json.loads(args.engine_options)
    except ValueError as error:
        raise InvalidRequest(f"--engine-options is not JSON: {error}.") from None
    if not isinstance(options, Mapping):
        raise InvalidRequest('--engine-options must be a JSON object as {"context_length": 2048}.')
    options = dict(options)
    if args.runtime == "torch":
        # One answer at a time: what is computed together changes the last digits.
        options.setdefault("max_concurrency", 1)
        options.setdefault("compile", False)
    for name in names:
        value = getattr(args, name)
        if value is not None:
            options[name] = value
    return EngineSpec(args.runtime, model, options)
