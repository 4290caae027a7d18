# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila model info`: what a model folder is, how large, what it needs, and who can serve it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vila_ros.model.info import Memory, ModelInfo, Part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    verbs = parser.add_subparsers(dest="model_verb", metavar="info", required=True)
    info = verbs.add_parser("info", help="describe a model without loading it")
    info.add_argument("model", metavar="DIR", help="checkpoint folder, or a hub id owner/name")
    info.add_argument("--revision", help="branch, tag or commit of a hub id")
    info.add_argument("--token-order", choices=("row", "column"), help="of mlp_downsample")
    info.add_argument("--conversation", help="conversation template, by name")
    info.add_argument("--json", action="store_true", help="for programs; sizes in bytes")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    from vila_ros.model.checkpoint import locate
    from vila_ros.model.info import describe_model

    folder = locate(args.model, args.revision)
    info = describe_model(folder, args.token_order, args.conversation)
    if args.json:
        print(json.dumps(as_json(info), indent=2))
    else:
        print("\n".join(f"{label:<16}{text}".rstrip() for label, text in as_lines(info)))
    return 0


def as_json(info: ModelInfo) -> dict[str, object]:
    """The description as JSON values; the sums of weights are added."""
    data = dataclasses.asdict(info)
    for precision, memory in (("fp16", info.fp16), ("int4", info.int4)):
        data[precision]["weights"] = memory.weights
    return data


def as_lines(info: ModelInfo) -> list[tuple[str, str]]:
    """The description as (label, text)."""
    tokens = f"{info.tokens_per_image} tokens"
    if info.most_tokens_per_image != info.tokens_per_image:
        tokens += f", up to {info.most_tokens_per_image} when tiled"
    lines = [
        ("model", f"{info.name} ({info.generation})"),
        ("language model", _part(info.language_model)),
        ("vision tower", f"{_part(info.vision_tower)}, {info.image_size} px"),
        ("projector", _part(info.projector)),
        ("token order", f"{info.token_order} ({info.token_order_reason})"),
        ("template", info.conversation),
        ("stored as", info.stored_dtype),
        ("context", f"{info.context_length} tokens"),
        ("an image", f"{tokens} ({info.image_aspect_ratio})"),
        ("memory at fp16", _memory(info.fp16)),
        ("memory at int4", _memory(info.int4)),
    ]
    for number, runtime in enumerate(info.runtimes):
        answer = "yes" if runtime.can else "no"
        text = f"{runtime.name:<23}{answer:<4}{runtime.note}"
        lines.append(("runtimes" if number == 0 else "", text))
    return lines


def _part(part: Part) -> str:
    return f"{part.kind}, {_count(part.parameters)} parameters"


def _memory(memory: Memory) -> str:
    return (
        f"{_size(memory.weights)} weights (language model {_size(memory.language_model)}, "
        f"vision {_size(memory.vision_tower)}, projector {_size(memory.projector)}) + "
        f"{_size(memory.kv_cache_per_1000_tokens)} KV cache per 1000 tokens"
    )


def _count(number: int) -> str:
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.2f} {unit}"
    return str(number)


def _size(number: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= scale:
            return f"{number / scale:.2f} {unit}"
    return f"{number} B"
