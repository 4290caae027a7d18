# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Int4 beside bfloat16: decoding, prompts, memory; and the memory's speed in the same run.

    python benchmarks/int4.py                  CPU: 1B and 3B shapes, peers, memory
    python benchmarks/int4.py --device cuda    CUDA: 3B, 8B and 13B shapes
    python benchmarks/int4.py --parts decode,prompt --shapes 1b

    --parts peers       the layers beside torch's int4 kernel and OpenVINO (CPU)
    --parts load        memory of loading an int4 3B, over its bytes
    --parts quantise    memory of quantising a 3B

Language models of real shapes with random weights. The variants take turns, step by step, so that
a busy machine is busy for all of them; each figure is the median of its turns, bandwidth the best.
Needs torch, transformers, safetensors, numpy and pillow; openvino for its rows alone. The last line
is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

for _name, _value in (
    ("OMP_WAIT_POLICY", "PASSIVE"),
    ("KMP_BLOCKTIME", "0"),
    ("GOMP_SPINCOUNT", "0"),
):
    os.environ.setdefault(_name, _value)

import torch  # noqa: E402
from torch import nn  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from int4_parts.memory import measure_load, measure_quantise  # noqa: E402
from int4_parts.peers import measure_peers  # noqa: E402
from int4_parts.shapes import PROMPT, SHAPES, random_int4, timed  # noqa: E402

from vila_ros.model.config import language_config  # noqa: E402
from vila_ros.model.decoder import Decoder, DecodeStep  # noqa: E402
from vila_ros.model.int4_decoder import Int4Decoder, can_step  # noqa: E402
from vila_ros.model.kv_cache import SlotCache  # noqa: E402
from vila_ros.model.language_model import build_language_model, restore_buffers  # noqa: E402
from vila_ros.quantization import native  # noqa: E402
from vila_ros.quantization.int4_linear import (  # noqa: E402
    Int4Linear,
    StoredEmbedding,
    StoredLinear,
)

CPU_SHARE, CPU_RATIO, LOAD_RATIO = 0.8, 3.0, 1.3
CUDA_SHARES = {"3b": 0.45, "8b": 0.6, "13b": 0.6}


def language_model(shape: str, int4: bool, dtype: torch.dtype, device: torch.device) -> Any:
    """A model of a shape with random weights, computing in dtype."""
    hidden, layers, heads, kv_heads, mlp, vocabulary = SHAPES[shape]
    raw = {
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }
    with torch.device("meta"):
        model = build_language_model(language_config(raw, Path("config.json")))
    stored = torch.bfloat16 if int4 else dtype
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and ".layers." in name and int4:
            layer = Int4Linear(random_int4(module.out_features, module.in_features))
            if device.type == "cuda":
                layer.to_cuda(device)
            model.set_submodule(name, layer)
        elif isinstance(module, nn.Linear):
            weight = random_rows(module.out_features, module.in_features, stored).to(device)
            if int4:
                model.set_submodule(name, StoredLinear(weight))
            else:
                module.weight = nn.Parameter(weight, requires_grad=False)
        elif isinstance(module, nn.Embedding):
            weight = random_rows(module.num_embeddings, module.embedding_dim, stored).to(device)
            if int4:
                model.set_submodule(name, StoredEmbedding(weight, dtype))
            else:
                module.weight = nn.Parameter(weight, requires_grad=False)
        elif hasattr(module, "variance_epsilon"):
            module.weight = nn.Parameter(torch.ones(hidden, dtype=dtype, device=device), False)
    restore_buffers(model, device)
    return model.requires_grad_(False).eval()


def random_rows(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    """Weights of usual size; rows repeat after a while, which costs reading nothing less."""
    some = torch.randn(min(rows, 512), columns) * columns**-0.5
    return some.to(dtype).repeat(-(-rows // len(some)), 1)[:rows].contiguous()


def bytes_of(model: Any) -> int:
    """Bytes that a step reads: all but the table of embeddings, of which it reads a row."""
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, Int4Linear):
            total += module.weight.nbytes
        elif "embed_tokens" not in name:
            total += sum(p.nbytes for p in module.parameters(recurse=False))
    return total


class Variant:
    """A model with its decoder and what its turns took."""

    def __init__(self, name: str, model: Any, dtype: torch.dtype, device: torch.device) -> None:
        self.name = name
        self.model = model
        self.dtype = dtype
        self.bytes = bytes_of(model)
        self.cache = SlotCache(
            model.config, slots=1, context_length=1024, dtype=dtype, device=device
        )
        if device.type == "cuda":
            from vila_ros.model.fused_decoder import FusedDecoder

            self.decoder: Decoder = FusedDecoder(model, self.cache)
        elif can_step(model, self.cache):
            self.decoder = Int4Decoder(model, self.cache)
        else:
            self.decoder = Decoder(model, self.cache)
        self.steps: list[float] = []
        self.prompts: list[float] = []
        self.place = PROMPT
        self.ahead: DecodeStep | None = None
        self.embeddings = model.get_input_embeddings()(
            torch.arange(PROMPT, device=device) % model.config.vocab_size
        )

    def step(self) -> None:
        """Decode one token; on a GPU as answers are, each step launched before the last is seen."""
        self.steps.append(timed(self._advance))
        self.place += 1

    def _advance(self) -> None:
        step, self.ahead = self.ahead, None
        if step is None:
            step = self.decoder.decode(((0, self.place),), [7])
        self.ahead = self.decoder.follow(step)
        step.wait()

    def prompt(self) -> None:
        """Compute PROMPT rows."""
        self.prompts.append(timed(self._prefill))

    def _prefill(self) -> None:
        self.ahead = None
        self.decoder.prefill(0, 0, self.embeddings, last=True)
        if self.cache.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def token_bytes(self) -> float:
        """Read for one token, keys and values included."""
        return self.bytes + self.cache.bytes_per_position * (PROMPT + self.place) / 2


def read_once(data: torch.Tensor) -> float:
    """Bytes a second of reading a tensor larger than any cache."""
    kernels = native.library()
    if data.device.type == "cuda":
        torch.cuda.synchronize()

        def work() -> None:
            data.sum()
            torch.cuda.synchronize()

    elif kernels is not None:

        def work() -> None:
            kernels.vila_read(data.data_ptr(), data.nbytes, torch.get_num_threads())

    else:

        def work() -> None:
            data.sum()

    return data.nbytes / timed(work)


@torch.inference_mode()
def measure_shape(shape: str, parts: set[str], device: torch.device, rounds: int) -> dict[str, Any]:
    """Decoding and prompts of one shape."""
    on_gpu = device.type == "cuda"
    halves = torch.bfloat16
    data = torch.ones(1 << (29 if on_gpu else 27), device=device)
    variants = [
        Variant(
            "int4", language_model(shape, True, halves if on_gpu else torch.float32, device),
            halves if on_gpu else torch.float32, device,
        ),
        Variant("bfloat16", language_model(shape, False, halves, device), halves, device),
    ]  # fmt: skip
    int4, plain = variants
    bandwidth = []
    for variant in variants:
        variant._prefill()
        for _ in range(3):
            variant.step()
        variant.steps.clear()
    for _ in range(rounds):
        bandwidth.append(read_once(data))
        if "decode" in parts:
            for variant, count in ((int4, 4), (plain, 1)):
                for _ in range(count * (4 if on_gpu else 1)):
                    variant.step()
    for _ in range(max(1, rounds // 8) if "prompt" in parts else 0):
        for variant in variants:
            variant.prompt()
    best = max(bandwidth)
    figures: dict[str, Any] = {
        "bandwidth_gb_per_s": round(best / 1e9, 2),
        "bandwidth_median_gb_per_s": round(statistics.median(bandwidth) / 1e9, 2),
    }
    print(f"{shape}: read bandwidth {best / 1e9:.1f} GB/s ({int4.decoder.__class__.__name__})")
    if int4.steps:
        for variant in variants:
            took, fastest = statistics.median(variant.steps), min(variant.steps)
            share = variant.token_bytes / took / best
            print(
                f"  {variant.name:9} {1 / took:8.2f} tokens/s (best {1 / fastest:.2f}), "
                f"{variant.token_bytes / 1e9:.3f} GB a token, {share:.1%} of bandwidth "
                f"(best {variant.token_bytes / fastest / best:.1%})"
            )
            figures[f"{variant.name}_tokens_per_s"] = round(1 / took, 3)
            figures[f"{variant.name}_share"] = round(share, 4)
            figures[f"{variant.name}_best_share"] = round(variant.token_bytes / fastest / best, 4)
        ratio = statistics.median(plain.steps) / statistics.median(int4.steps)
        figures["decode_ratio"] = round(ratio, 3)
        print(f"  int4 / bfloat16: {ratio:.2f} times the tokens a second")
    if int4.prompts:
        mine, other = (statistics.median(v.prompts) for v in variants)
        figures |= {
            "int4_prompt_s": round(mine, 4),
            "bfloat16_prompt_s": round(other, 4),
            "prompt_ratio": round(other / mine, 3),
        }
        print(
            f"  {PROMPT} prompt rows: int4 {mine:.3f} s, bfloat16 {other:.3f} s, "
            f"{other / mine:.2f} times as fast"
        )
    for variant in variants:
        variant.decoder.close()
    return figures


@torch.inference_mode()
def measure_whole(shape: str, rounds: int) -> dict[str, float]:
    """Milliseconds of a decoding step and of a prompt, to see the layers' products against: these
    call the layers without Python between, and have attention and the output layer with them."""
    model = language_model(shape, True, torch.float32, torch.device("cpu"))
    int4 = Variant("int4", model, torch.float32, torch.device("cpu"))
    int4._prefill()
    for _ in range(rounds + 3):
        int4.step()
    for _ in range(max(1, rounds // 8)):
        int4.prompt()
    int4.decoder.close()
    step, prompt = (1e3 * statistics.median(took) for took in (int4.steps[3:], int4.prompts))
    print(
        f"  vila_ros, whole model: a decoding step {step:.1f} ms, {PROMPT} prompt rows "
        f"{prompt:.1f} ms, with attention, norms and {model.lm_head.weight.nbytes / 1e9:.2f} GB "
        "of output layer"
    )
    return {"step_ms": round(step, 2), "prompt_ms": round(prompt, 1)}


def judged(figures: dict[str, Any], on_gpu: bool) -> dict[str, bool]:
    """Which targets were met, of those that were measured."""
    met = {}
    for shape in SHAPES:
        mine = figures.get(shape)
        if not isinstance(mine, dict):
            continue
        if "int4_share" in mine:
            least = CUDA_SHARES.get(shape, 0.0) if on_gpu else CPU_SHARE
            met[f"{shape} share"] = mine["int4_share"] >= least
            met[f"{shape} ratio"] = on_gpu or mine["decode_ratio"] >= CPU_RATIO
        if "prompt_ratio" in mine:
            met[f"{shape} prompt"] = mine["prompt_ratio"] >= 1.0
    if "load_ratio_stored" in figures:
        met["load"] = figures["load_ratio_stored"] <= LOAD_RATIO
    if "quantise_peak_gb" in figures:
        most = max(figures["quantise_peak_gb"], figures.get("write_peak_gb", 0.0))
        met["quantise"] = most <= figures["quantise_limit_gb"]
    return met


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--shapes", help="of 1b, 3b, 8b, 13b; CPU 1b,3b, CUDA 3b,8b,13b")
    parser.add_argument("--parts", default="decode,prompt,peers,load,quantise")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args()
    name = f"int4 {args.device}"
    target = {
        "cpu": f"share >= {CPU_SHARE}, ratio >= {CPU_RATIO}, prompt >= 1, load <= {LOAD_RATIO}",
        "cuda": f"share >= {CUDA_SHARES}",
    }
    on_gpu = args.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        print("not yet measured: no CUDA device")
        figures: dict[str, Any] = {"not_measured": "no CUDA device"}
        print(json.dumps({"name": name, "figures": figures, "target": target, "ok": None}))
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads, kernels "
        f"{native.instruction_set() or 'not built'}, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    parts = set(args.parts.split(","))
    shapes = (args.shapes or ("3b,8b,13b" if on_gpu else "1b,3b")).split(",")
    figures = {"kernels": native.instruction_set(), "load_average": round(os.getloadavg()[0], 2)}
    for shape in shapes if parts & {"decode", "prompt"} else []:
        figures[shape] = measure_shape(shape, parts, torch.device(args.device), args.rounds)
        gc.collect()
    for shape in shapes if "peers" in parts and not on_gpu else []:
        figures[f"{shape} layers"] = measure_peers(shape, args.rounds)
        figures[f"{shape} whole"] = measure_whole(shape, args.rounds)
        gc.collect()
    checkpoint = "tiny" if shapes == ["tiny"] else "vila1.5-3b"
    if "load" in parts and not on_gpu and checkpoint != "tiny":
        figures |= measure_load(checkpoint)
    if "quantise" in parts and not on_gpu and checkpoint != "tiny":
        figures |= measure_quantise(checkpoint)
    if not on_gpu:
        print("CUDA: not yet measured in this run (--device cuda)")
    met = judged(figures, on_gpu)
    for what, ok in met.items():
        print(f"{'ok  ' if ok else 'MISS'} {what}")
    ok = all(met.values()) if met else None
    print(json.dumps({"name": name, "figures": figures, "target": target, "ok": ok}))
    return 0 if ok is not False else 1


if __name__ == "__main__":
    sys.exit(main())
