# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila describe`: one question about images, the answer streamed to the terminal."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

from vila_ros.cli.engine_arguments import AUTO, DEFAULT_MODEL, add_torch_arguments
from vila_ros.cli.media import read_media
from vila_ros.engine.interface import (
    Engine,
    GenerationRequest,
    GenerationStats,
    Message,
    Part,
    TextChunk,
    TextPart,
)
from vila_ros.errors import InvalidRequest, InvalidSchema

DEFAULT_PROMPT = "Describe what you see."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="IMAGE", help="pictures or videos")
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, help="the question")
    parser.add_argument("--json-schema", type=Path, metavar="FILE", help="what the answer must be")
    parser.add_argument("--choices", metavar="A,B,…", help="the allowed answers")
    parser.add_argument("--stats", action="store_true", help="say what the answer cost")
    add_engine_arguments(parser)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """What `vila describe` and `vila chat` have in common: the model and how it answers."""
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder or hub id (%(default)s)")
    parser.add_argument("--revision", help="of the hub id")
    parser.add_argument("--conversation", help="conversation template, by name")
    add_torch_arguments(parser)
    parser.add_argument("--frames", type=int, default=8, help="taken of a video (%(default)s)")
    parser.add_argument("--max-tokens", type=int, default=256, help="at most (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (%(default)s)")
    parser.add_argument("--top-p", type=float, default=1.0, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of sampling (%(default)s)")


def build_engine(args: argparse.Namespace) -> Engine:
    """The engine that the arguments ask for, not loaded yet."""
    from vila_ros.engine.torch_engine import TorchEngine

    if args.frames < 1:
        raise InvalidRequest(f"--frames is {args.frames}; it must be at least 1")
    return TorchEngine(
        args.model,
        device=args.device or AUTO,
        dtype=args.dtype or AUTO,
        max_concurrency=1,
        threads=args.threads,
        compile=False,  # compiling takes longer than one answer
        revision=args.revision,
        conversation=args.conversation,
    )


def run(args: argparse.Namespace) -> int:
    """Ask and print. Files are read first, so that a wrong name fails at once."""
    engine = build_engine(args)
    schema = read_schema(args.json_schema) if args.json_schema else None
    choices = tuple(choice.strip() for choice in args.choices.split(",")) if args.choices else ()
    parts: list[Part] = [part for path in args.files for part in read_media(path, args.frames)]
    request = GenerationRequest(
        "describe",
        (Message("user", (*parts, TextPart(args.prompt))),),
        max_tokens=args.max_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        json_schema=schema,
        choices=choices,
    )
    with contextlib.closing(engine):
        engine.load()
        last = None
        for last in engine.generate(request):
            print(last.text, end="", flush=True)
        print()
    assert last is not None
    for choice, probability in zip(choices, last.choice_probabilities, strict=False):
        print(f"{probability:8.4f}  {choice}")
    if args.stats:
        print(describe_stats(last), file=sys.stderr)
    return 0


def read_schema(path: Path) -> str:
    """A schema file's text. Raises InvalidSchema."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSchema(f"{path}: cannot be read ({error})") from None


def describe_stats(chunk: TextChunk) -> str:
    """What an answer cost, in one line."""
    stats = chunk.stats or GenerationStats()
    return (
        f"{stats.prompt_tokens} prompt tokens ({stats.image_tokens} of images, "
        f"{stats.cached_tokens} kept), {stats.completion_tokens} generated; vision "
        f"{stats.vision_time:.2f} s ({stats.images_encoded} encoded, {stats.images_cached} kept), "
        f"first token after {stats.time_to_first_token:.2f} s, total {stats.total_time:.2f} s, "
        f"{stats.tokens_per_second:.1f} tokens/s"
    )
