# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A window of 8 frames that slides by one: what a step costs with and without kept embeddings.

    python benchmarks/window.py [--steps 5] [--threads N]

The model has random weights, a SigLIP-base tower (12 layers of 768, 224 pixels, 64 tokens an image)
and a Llama of 12 layers of 1024, in float32: large enough that arithmetic, not Python, is what
takes the time. Every step is done three ways, one after the other: by a generator that keeps
embeddings, by one that does not, and as the bare work that no cache can save (one encode and one
prefill, by the model's own modules). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
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

WINDOW = 8
SHAPE = Shape(1024, 12, 16, 16, 2816, 32000, 4096, 768, 12, 12, 3072, 224)
QUESTION = "What has changed in front of the robot?"
TARGET_VISION_RATIO = 6.0
TARGET_FIRST_TOKEN = 1.15


def make_request(frames: list[np.ndarray], first: int) -> GenerationRequest:
    """The question on frames [first, first + WINDOW)."""
    parts = [ImagePart(frames[i], f"front@{i}") for i in range(first, first + WINDOW)]
    messages = (Message("user", (*parts, TextPart(QUESTION))),)
    return GenerationRequest(f"step{first}", messages, max_tokens=8)


def run(generator: Generator, request: GenerationRequest) -> tuple[str, GenerationStats]:
    chunks = list(generator.submit(request))
    stats = chunks[-1].stats
    assert stats is not None
    return "".join(chunk.text for chunk in chunks), stats


@torch.inference_mode()
def bare_work(vila: Vila, request: GenerationRequest) -> float:
    """Seconds of one encode and one prefill of a request's length, by the modules alone."""
    part = request.messages[0].parts[WINDOW - 1]
    assert isinstance(part, ImagePart)
    rows = sum(
        len(segment.token_ids) if hasattr(segment, "token_ids") else vila.media_tokens(segment)
        for segment in vila.render(request.messages).segments
    )
    embeddings = torch.zeros(1, rows, vila.language_model.config.hidden_size)
    started = time.perf_counter()
    vila.encode_images([part.pixels])
    vila.language_model(inputs_embeds=embeddings, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    random = np.random.default_rng(0)
    frames = [
        random.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(WINDOW + args.steps)
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_random_checkpoint(Path(folder), SHAPE)
        # Two instances over the same mapped weights: one for the bare work, as its attention is
        # transformers' own.
        vila, bare = load_vila(folder), load_vila(folder)
        return measure(vila, bare, frames, args.steps)


def measure(vila: Vila, bare: Vila, frames: list[np.ndarray], steps: int) -> int:
    kept = Generator(vila, max_concurrency=1)
    fresh = Generator(vila, max_concurrency=1, embedding_cache_bytes=0)
    run(kept, make_request(frames, 0))
    bare_work(bare, make_request(frames, 0))
    header = ("step", "encoded", "vision", "first token", "encoded", "vision", "first token")
    print(f"{'':6}{'embeddings kept':^32}{'all encoded':^32}{'one encode + prefill':>22}")
    print("{:6}{:>8}{:>11}{:>13}{:>8}{:>11}{:>13}".format(*header))
    ours, theirs, bares, same = [], [], [], []
    for step in range(1, steps + 1):
        request = make_request(frames, step)
        text, stats = run(kept, request)
        other_text, other = run(fresh, request)
        bares.append(bare_work(bare, request))
        ours.append(stats)
        theirs.append(other)
        same.append(text == other_text)
        columns = [
            f"{s.images_encoded:>8}{s.vision_time:>9.3f} s{s.time_to_first_token:>11.3f} s"
            for s in (stats, other)
        ]
        print(f"{step:<6}{''.join(columns)}{bares[-1]:>20.3f} s", flush=True)
    kept.close()
    fresh.close()
    vision = statistics.median(
        b.vision_time / a.vision_time for a, b in zip(ours, theirs, strict=True)
    )
    first = statistics.median(a.time_to_first_token / b for a, b in zip(ours, bares, strict=True))
    gain = statistics.median(
        b.time_to_first_token / a.time_to_first_token for a, b in zip(ours, theirs, strict=True)
    )
    encoded = max(stats.images_encoded for stats in ours)
    print(f"vision part: {vision:.2f} times as fast; first token: {gain:.2f} times as fast")
    print(f"first token / (one encode + one prefill): {first:.3f}")
    print(f"same text in {sum(same)} of {steps} steps")
    ok = (
        encoded == 1 and vision >= TARGET_VISION_RATIO and first <= TARGET_FIRST_TOKEN and all(same)
    )
    figures = {
        "images_encoded_a_step": encoded,
        "vision_ratio": round(vision, 3),
        "first_token_over_bare_work": round(first, 4),
        "first_token_ratio": round(gain, 3),
        "vision_s": round(statistics.median(s.vision_time for s in ours), 4),
        "first_token_s": round(statistics.median(s.time_to_first_token for s in ours), 4),
        "bare_work_s": round(statistics.median(bares), 4),
        "same_text": f"{sum(same)}/{steps}",
    }
    target = {
        "images_encoded_a_step": "1 of 8",
        "vision_ratio": f">= {TARGET_VISION_RATIO}",
        "first_token_over_bare_work": f"<= {TARGET_FIRST_TOKEN}",
        "same_text": "all",
    }
    print(json.dumps({"name": "window", "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
