# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A second question on the same frames: how much sooner it starts than the first.

    python benchmarks/prefix.py [--rounds 3] [--threads N]

Each round shows 8 new frames and asks two questions about them, by a generator that keeps what it
computed, then the second one again by a generator that has seen nothing. The model is that of
window.py. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vila_ros.engine.interface import (
    GenerationRequest,
    GenerationStats,
    ImagePart,
    Message,
    TextPart,
)
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.generation import Generator
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.model.vila import Vila

FRAMES = 8
SHAPE = Shape(1024, 12, 16, 16, 2816, 32000, 4096, 768, 12, 12, 3072, 224)
SYSTEM = "You watch over a mobile robot. Answer briefly."
QUESTIONS = ("Is the way ahead free?", "How many people are in view, and what do they do?")
TARGET_RATIO = 5.0


def make_request(frames: list[np.ndarray], question: str) -> GenerationRequest:
    messages = (
        Message("system", (TextPart(SYSTEM),)),
        Message("user", (*(ImagePart(frame) for frame in frames), TextPart(question))),
    )
    return GenerationRequest(question, messages, max_tokens=8)


def run(generator: Generator, request: GenerationRequest) -> tuple[str, GenerationStats]:
    chunks = list(generator.submit(request))
    stats = chunks[-1].stats
    assert stats is not None
    return "".join(chunk.text for chunk in chunks), stats


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_random_checkpoint(Path(folder), SHAPE)
        return measure(load_vila(folder), args.rounds)


def measure(vila: Vila, rounds: int) -> int:
    random = np.random.default_rng(0)
    kept = Generator(vila, max_concurrency=1)
    fresh = Generator(vila, max_concurrency=1, embedding_cache_bytes=0)
    print(
        f"{'round':8}{'first':>12}{'second':>12}{'ratio':>8}"
        f"{'second, nothing kept':>24}{'ratio':>8}"
    )
    ratios, fresh_ratios, seconds, same = [], [], [], []
    for number in range(rounds):
        frames = [random.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(FRAMES)]
        _, first = run(kept, make_request(frames, QUESTIONS[0]))
        text, second = run(kept, make_request(frames, QUESTIONS[1]))
        other_text, other = run(fresh, make_request(frames, QUESTIONS[1]))
        ratios.append(first.time_to_first_token / second.time_to_first_token)
        fresh_ratios.append(other.time_to_first_token / second.time_to_first_token)
        seconds.append(second)
        same.append(text == other_text)
        print(
            f"{number:<8}{first.time_to_first_token:>10.3f} s{second.time_to_first_token:>10.3f} s"
            f"{ratios[-1]:>7.1f}x{other.time_to_first_token:>22.3f} s{fresh_ratios[-1]:>7.1f}x",
            flush=True,
        )
    kept.close()
    fresh.close()
    ratio = statistics.median(ratios)
    stats = seconds[-1]
    print(
        f"a second question starts {ratio:.1f} times sooner; {stats.cached_tokens} of "
        f"{stats.prompt_tokens} prompt tokens and {stats.images_cached} images were kept"
    )
    print(f"same text in {sum(same)} of {rounds} rounds")
    ok = ratio >= TARGET_RATIO and all(same)
    figures = {
        "ratio": round(ratio, 2),
        "ratio_to_nothing_kept": round(statistics.median(fresh_ratios), 2),
        "second_first_token_s": round(statistics.median(s.time_to_first_token for s in seconds), 4),
        "cached_tokens": stats.cached_tokens,
        "prompt_tokens": stats.prompt_tokens,
        "same_text": f"{sum(same)}/{rounds}",
    }
    target = {"ratio": f">= {TARGET_RATIO}", "same_text": "all"}
    print(json.dumps({"name": "prefix", "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
