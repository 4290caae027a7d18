#!/usr/bin/env python3
# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make the embedded model vila-nano, from rendered scenes to the folder that the package ships.

Ended at any moment, the same command goes on where it stood. --short is a minute's run of every
part, which learns nothing worth keeping.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

# Threads of several libraries that spin while they wait would take each other's cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("KMP_BLOCKTIME", "0")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vila_ros.errors import InvalidCheckpoint, VilaError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="scenes, features, checkpoint")
    parser.add_argument("--out", type=Path, help="the model's folder (default: WORK/vila-nano)")
    parser.add_argument("--tub", type=Path, help="a donkeycar tub to learn steering from, too")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (%(default)s)")
    parser.add_argument("--export", action="store_true", help="write the model as far as it is")
    parser.add_argument("--short", action="store_true", help="try every part in a minute")
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f"--threads is {args.threads}; it must be at least 1")
    try:
        make(args)
    except VilaError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:  # a full disk, a file that may not be read: it names itself
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def make(args: argparse.Namespace) -> None:
    import torch

    from vila_ros.model.embedded import shipped_folder
    from vila_ros.training.nano.export import export
    from vila_ros.training.nano.recipe import FULL, SHORT
    from vila_ros.training.nano.shards import SIDE, Shards, vision_tower, write_shard
    from vila_ros.training.nano.steering import prepare_steering
    from vila_ros.training.nano.train import Trainer

    if args.export and not (args.work / "checkpoint.pt").is_file():
        raise InvalidCheckpoint(
            f"{args.work / 'checkpoint.pt'} is not there: nothing was trained in that folder that "
            "--export could write; train without it first"
        )
    torch.set_num_threads(args.threads)
    recipe = SHORT if args.short else FULL
    see = vision_tower()
    # First, as a tub that cannot be read is to be known of before hours of rendering.
    steering = prepare_steering(args.tub, see, SIDE) if args.tub else None
    for number, plan in enumerate(recipe.shards, start=1):
        write_shard(plan, args.work / "shards", see)
        print(
            f"shard {number} of {len(recipe.shards)}: {plan.count} {plan.kind} scenes", flush=True
        )
    shards = Shards(args.work / "shards", recipe.shards)
    trainer = Trainer(
        recipe, shards, args.work, lambda line: print(line, flush=True), steering=steering
    )
    if args.export:
        trainer.load()
    else:
        trainer.run()
    out = args.out or args.work / "vila-nano"
    for name in ("config.json", "mm_projector", "vision_tower"):
        source, target = shipped_folder() / name, out / name
        if source.resolve() == target.resolve():
            continue
        if source.is_dir():
            shutil.copytree(
                source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors")
            )
        else:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    export(trainer.network, trainer.tokenizer, out)
    print(f"wrote {out}")


if __name__ == "__main__":
    sys.exit(main())
