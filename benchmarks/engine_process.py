# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What running an engine in a process of its own adds to a request.

The same engine, which echoes the prompt, is asked in this process and in a supervised one, in turn,
so that both see the same machine; with no image and with 8 of 640x480. Ratios are the supervised
time over the other. "bare" engines cost next to nothing themselves, so that what is added shows in
milliseconds; a "paced" one takes 10 ms a token, which a fast model on a good GPU does, so that the
ratio is that of a robot.

Run from the repository's root: python benchmarks/engine_process.py. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from test.doubles import EchoEngine
from vila_ros.engine.interface import (
    Engine,
    EngineSpec,
    GenerationRequest,
    ImagePart,
    Message,
    TextPart,
)
from vila_ros.engine.supervisor import SupervisedEngine

IMAGE_SIZE = (480, 640, 3)
PACE = 0.01
# name of the case: (seconds a token, tokens, part of the repeats)
CASES = {"bare, answer": (0.0, 1, 1.0), "bare, stream": (0.0, 100, 1.0), "paced": (PACE, 20, 0.2)}
WARM_UP = 10


def request_of(number: int, words: int, images: list[ImagePart]) -> GenerationRequest:
    """A request whose answer has `words` words; the images come in another message, because an
    echo of them would cost more than sending them."""
    question = Message("user", (TextPart("word " * words),))
    messages = (question,)
    if images:
        messages = (
            Message("user", tuple(images)),
            Message("assistant", (TextPart("seen"),)),
            question,
        )
    return GenerationRequest(f"benchmark-{number}", messages)


def seconds_of(engine: Engine, request: GenerationRequest) -> float:
    started = time.perf_counter()
    for _ in engine.generate(request):
        pass
    return time.perf_counter() - started


def percentile_99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def compare(
    engines: dict[str, Engine], repeats: int, words: int, images: list[ImagePart]
) -> dict[str, float]:
    """Ask both engines in turn; milliseconds and their ratios."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeats + WARM_UP):
        for name, engine in engines.items():
            seconds = seconds_of(engine, request_of(number, words, images))
            if number >= WARM_UP:
                times[name].append(seconds * 1e3)
    figures: dict[str, float] = {"images": len(images), "tokens": words}
    for what, measure in (("median", statistics.median), ("p99", percentile_99)):
        inside, supervised = (measure(times[name]) for name in ("in_process", "supervised"))
        figures |= {
            f"in_process_ms_{what}": round(inside, 3),
            f"supervised_ms_{what}": round(supervised, 3),
            f"added_ms_{what}": round(supervised - inside, 3),
            f"ratio_{what}": round(supervised / inside, 2),
        }
    return figures


def describe(case: str, figures: dict[str, float]) -> str:
    """A line for people."""
    return f"{case:12s} {figures['images']} images {figures['tokens']:3d} tokens: " + "; ".join(
        f"{what} {figures[f'in_process_ms_{what}']:.2f} -> {figures[f'supervised_ms_{what}']:.2f} "
        f"ms ({figures[f'added_ms_{what}']:+.2f} ms, ratio {figures[f'ratio_{what}']:.2f})"
        for what in ("median", "p99")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=300)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    images = [
        ImagePart(generator.integers(0, 256, IMAGE_SIZE, np.uint8), f"front@{index}")
        for index in range(8)
    ]
    results = []
    for case, (delay, words, part) in CASES.items():
        inside = EchoEngine("echo", delay=delay)
        inside.load()
        spec = EngineSpec("test.doubles:EchoEngine", "echo", {"delay": delay})
        supervised = SupervisedEngine(spec)
        try:
            supervised.load()
            engines: dict[str, Engine] = {"in_process": inside, "supervised": supervised}
            for shown in ([], images):
                figures = compare(engines, int(options.repeats * part), words, shown)
                results.append({"case": case, **figures})
                print(describe(case, figures))
        finally:
            supervised.close()
    print(json.dumps({"benchmark": "engine_process", "results": results}))


if __name__ == "__main__":
    main()
