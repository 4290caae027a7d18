# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Time to first token and tokens per second, beside transformers' generate and the memory's speed.

    python benchmarks/generate.py --device cpu|cuda --shape vila1.5-3b|8b|13b --weights random|DIR

One request (an image and a short question) at batch 1. In one run are measured: the bandwidth of
the device's memory (the fastest of reading and copying a large tensor), plain transformers
generate on the same weights, then this package's generator. Decoding must read every weight of the
language model and the keys and values once a token, so bandwidth bounds its speed; a first token
must read all weights once, which is a bound that prefill, limited by arithmetic, stays far from.

Needs torch, transformers, safetensors, numpy and pillow. The last line is one JSON object.
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
from transformers import LogitsProcessor, LogitsProcessorList

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vila_ros.engine.interface import GenerationRequest, ImagePart, Message, TextPart
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.generation import Generator
from vila_ros.model.memory import free_bytes
from vila_ros.model.random_checkpoint import SHAPES, write_random_checkpoint
from vila_ros.model.vila import Vila

TARGET_SHARE = 0.7  # of the bandwidth bound, decoding on CUDA in bfloat16
PROMPT = "Describe the scene in front of the robot, and say what it should watch out for."
SHAPE_NAMES = {name.removeprefix("vila1.5-"): name for name in SHAPES if name != "tiny"}


class Clock(LogitsProcessor):
    """Notes when each token's logits are there."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Note the time; the scores stay as they are."""
        synchronize(self.device)
        self.times.append(time.perf_counter())
        return scores


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_bandwidth(device: torch.device) -> float:
    """Bytes a second that the memory gives: the best of several reads and copies.

    The tensor (256 MiB, on a GPU 2 GiB) is larger than any cache.
    """
    source = torch.ones(1 << (29 if device.type == "cuda" else 26), device=device)
    target = torch.empty_like(source)
    best = 0.0
    for traffic, work in ((1, source.sum), (2, lambda: target.copy_(source))):
        for _ in range(6):
            synchronize(device)
            started = time.perf_counter()
            work()
            synchronize(device)
            best = max(best, traffic * source.nbytes / (time.perf_counter() - started))
    return best


def make_request(name: str, tokens: int) -> GenerationRequest:
    """A question on one image; a new image a name, so that nothing is cached."""
    random = np.random.default_rng(sum(name.encode()))
    pixels = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    messages = (Message("user", (ImagePart(pixels), TextPart(PROMPT))),)
    return GenerationRequest(name, messages, max_tokens=tokens)


@torch.inference_mode()
def run_plain(vila: Vila, request: GenerationRequest) -> dict[str, object]:
    """Transformers' own generate, vision included."""
    clock = Clock(vila.device)
    synchronize(vila.device)
    started = time.perf_counter()
    embeddings = vila.embed_prompt(vila.render(request.messages))
    tokens = vila.language_model.generate(
        inputs_embeds=embeddings[None],
        attention_mask=torch.ones(1, len(embeddings), dtype=torch.int64, device=vila.device),
        max_new_tokens=request.max_tokens,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
        logits_processor=LogitsProcessorList([clock]),
    )
    return {
        "first": clock.times[0] - started,
        "rate": (len(clock.times) - 1) / (clock.times[-1] - clock.times[0]),
        "text": vila.tokenizer.decode(tokens[0], skip_special_tokens=True),
    }


def run_ours(generator: Generator, request: GenerationRequest) -> dict[str, object]:
    """This package's generator, timed from outside and by its own account."""
    chunks = list(generator.submit(request))
    stats = chunks[-1].stats
    assert stats is not None
    return {
        "first": stats.time_to_first_token,
        "rate": stats.tokens_per_second,
        "text": "".join(chunk.text for chunk in chunks),
        "prompt": stats.prompt_tokens,
    }


def median(runs: list[dict[str, object]], field: str) -> float:
    return statistics.median(float(run[field]) for run in runs)  # type: ignore[arg-type]


def report(name: str, figures: dict[str, object], ok: bool | None) -> int:
    target = {"decode_share_of_bandwidth": f">= {TARGET_SHARE} (CUDA, bfloat16, batch 1)"}
    print(json.dumps({"name": name, "figures": figures, "target": target, "ok": ok}))
    return 0 if ok is not False else 1


def check_memory(shape: str, dtype: torch.dtype, device: torch.device) -> str:
    """Why the shape does not fit, or ""."""
    sizes = SHAPES[shape]
    width = sizes.hidden // sizes.heads
    attention = sizes.hidden * (2 * sizes.hidden + 2 * sizes.kv_heads * width)
    layer = attention + 3 * sizes.hidden * sizes.mlp
    vision = (
        sizes.vision_layers * sizes.vision_hidden * (4 * sizes.vision_hidden + 2 * sizes.vision_mlp)
    )
    weights = sizes.layers * layer + 2 * sizes.vocabulary * sizes.hidden + vision
    cache = 2 * sizes.layers * sizes.kv_heads * width * min(sizes.context, 2048)
    needed = (weights + cache) * dtype.itemsize + 3 * 2**30
    free = free_bytes(device)
    if needed <= free:
        return ""
    return f"{shape} in {dtype} needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--shape", default="vila1.5-3b", choices=[*SHAPE_NAMES.values(), *SHAPES])
    parser.add_argument("--weights", default="random", help="random, or a checkpoint's folder")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--tokens", type=int, help="generated a run (CPU: 16, CUDA: 128)")
    parser.add_argument("--rounds", type=int, help="runs of each (CPU: 1, CUDA: 5)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--no-compile", action="store_true", help="CUDA graphs alone")
    args = parser.parse_args()
    name = f"generate {args.shape} {args.device} {args.dtype}"
    if args.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no CUDA device")
        return report(name, {"not_measured": "no CUDA device"}, None)
    device = torch.device(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.weights == "random":
        lacking = check_memory(args.shape, getattr(torch, args.dtype), device)
        if lacking:
            print(f"not measured: {lacking}")
            return report(name, {"not_measured": lacking}, None)
        with tempfile.TemporaryDirectory() as folder:
            print(f"writing random weights to {folder}", flush=True)
            write_random_checkpoint(Path(folder), args.shape, dtype=args.dtype)
            vila = load_vila(folder, device=args.device, dtype=args.dtype)
            return measure(vila, name, args)
    return measure(load_vila(args.weights, device=args.device, dtype=args.dtype), name, args)


def measure(vila: Vila, name: str, args: argparse.Namespace) -> int:
    device = vila.device
    on_gpu = device.type == "cuda"
    tokens = args.tokens or (128 if on_gpu else 16)
    rounds = args.rounds or (5 if on_gpu else 1)
    # Random weights would end answers at random.
    vila.__dict__["stop_token_ids"] = ()
    print(f"{torch.get_num_threads()} CPU threads, torch {torch.__version__}", flush=True)
    bandwidth = measure_bandwidth(device)
    print(f"memory bandwidth {bandwidth / 1e9:.1f} GB/s", flush=True)

    def plain(label: str, count: int) -> list[dict[str, object]]:
        return [run_plain(vila, make_request(f"{label}{i}", tokens)) for i in range(count)]

    plain("warm", 1 if on_gpu else 0)
    plain_runs = plain("round", rounds)
    generator = Generator(
        vila, max_concurrency=1, context_length=2048, compiled=not args.no_compile
    )
    if on_gpu:
        run_ours(generator, make_request("warm", tokens))
    our_runs = [run_ours(generator, make_request(f"round{i}", tokens)) for i in range(rounds)]
    prompt = int(median(our_runs, "prompt"))
    per_position = generator.cache.bytes_per_position
    generator.close()

    language = sum(p.nbytes for p in vila.language_model.parameters())
    read = language - vila.language_model.get_input_embeddings().weight.nbytes
    vision = sum(p.nbytes for m in (vila.vision_tower, vila.projector) for p in m.parameters())
    bound_rate = bandwidth / (read + (prompt + tokens / 2) * per_position)
    bound_first = (read + vision) / bandwidth
    ours = {field: median(our_runs, field) for field in ("first", "rate")}
    theirs = {field: median(plain_runs, field) for field in ("first", "rate")}
    share = ours["rate"] / bound_rate
    print(f"{'':24}{'first token':>14}{'of bound':>10}{'tokens/s':>12}{'of bound':>10}")
    rows = (
        ("bandwidth bound", {"first": bound_first, "rate": bound_rate}),
        ("transformers", theirs),
    )
    for label, row in (*rows, ("vila_ros", ours)):
        print(
            f"{label:24}{row['first']:>12.3f} s{bound_first / row['first']:>10.1%}"
            f"{row['rate']:>12.2f}{row['rate'] / bound_rate:>10.1%}"
        )
    first_ratio, rate_ratio = theirs["first"] / ours["first"], ours["rate"] / theirs["rate"]
    print(f"vila_ros / transformers: first token {first_ratio:.2f}x, tokens/s {rate_ratio:.2f}x")
    same = [a["text"] == b["text"] for a, b in zip(plain_runs, our_runs, strict=True)]
    print(f"same text in {sum(same)} of {len(same)} rounds; {prompt} prompt tokens")
    judged = on_gpu and args.dtype == "bfloat16"
    figures = {
        "bandwidth_gb_per_s": round(bandwidth / 1e9, 2),
        "prompt_tokens": prompt,
        "first_token_s": round(ours["first"], 4),
        "first_token_share_of_bandwidth": round(bound_first / ours["first"], 4),
        "tokens_per_s": round(ours["rate"], 3),
        "decode_share_of_bandwidth": round(share, 4),
        "transformers_first_token_s": round(theirs["first"], 4),
        "transformers_tokens_per_s": round(theirs["rate"], 3),
        "transformers_decode_share_of_bandwidth": round(theirs["rate"] / bound_rate, 4),
        "same_text": f"{sum(same)}/{len(same)}",
    }
    return report(name, figures, share >= TARGET_SHARE if judged else None)


if __name__ == "__main__":
    sys.exit(main())
