#!/usr/bin/env python3
# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write what vila-nano is quantised by: rendered scenes with questions and their true answers.

VILA's JSON, for `vila quantize vila-nano --calibration OUT/data.json`. No scene is one that was
trained on or that the benchmark asks about; colours are those that the model meets, also those that
training never showed on their kind.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vila_ros.errors import VilaError
from vila_ros.fleet.files import unwritable
from vila_ros.simulation.questions import Questioner
from vila_ros.simulation.renderer import Renderer
from vila_ros.simulation.scenes import clip_scene, draw_scene, still_scene

FIRST_SEED = 3_000_000
MOST_SAMPLES = 100_000
TASKS = ("presence", "color", "side", "count", "caption", "json", "what", "place")
CLIP_TASKS = ("motion", "clip caption")
CLIP_PICTURES = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--samples", type=int, default=300, help="(%(default)s)")
    args = parser.parse_args()
    if not 1 <= args.samples <= MOST_SAMPLES:
        parser.error(f"--samples is {args.samples}; it must be from 1 to {MOST_SAMPLES}")
    try:
        (args.out / "images").mkdir(parents=True, exist_ok=True)
        with Renderer() as renderer:
            samples = [write_sample(renderer, number, args.out) for number in range(args.samples)]
        (args.out / "data.json").write_text(json.dumps(samples, indent=1))
    except (VilaError, OSError) as error:
        told = unwritable(args.out, error) if isinstance(error, OSError) else error
        print(f"error: {told.message}", file=sys.stderr)
        return 1
    print(f"wrote {len(samples)} samples to {args.out / 'data.json'}")
    return 0


def write_sample(renderer: Renderer, number: int, folder: Path) -> dict[str, object]:
    """The number-th sample: every fourth one is a clip; tasks take turns among either."""
    seed = FIRST_SEED + number
    clips, of_four = divmod(number, 4)
    scene = clip_scene(seed, held_out=True) if of_four == 3 else still_scene(seed, held_out=True)
    pictures, truths = draw_scene(renderer, scene, CLIP_PICTURES)
    names = [f"images/{number}_{index}.png" for index in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(folder / name)
    asker = Questioner(truths, np.random.default_rng(seed), rare=True)
    turn, tasks = (clips, CLIP_TASKS) if of_four == 3 else (3 * clips + of_four, TASKS)
    asked = asker.ask(tasks[turn % len(tasks)]) or asker.ask("caption")
    assert asked is not None  # a caption can always be asked for
    return {
        "id": str(number),
        "image": names,
        "conversations": [
            {"from": "human", "value": "<image>\n" * len(names) + asked.question},
            {"from": "gpt", "value": asked.answer},
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
