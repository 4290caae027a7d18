# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Peak memory of loading an int4 checkpoint and of making one."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from int4_parts.shapes import random_int4

ROOT = Path(__file__).resolve().parent.parent.parent
FEW_SAMPLES, SAMPLES = 5, 40  # the least that vila quantize takes, and its default
LAYERS = 4

# VmHWM and not getrusage's figure, which a child inherits from a large parent.
PEAK = """
from pathlib import Path
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""
LOAD_CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from vila_ros.model.checkpoint import load_vila
if sys.argv[2]:
    vila = load_vila(sys.argv[2], dtype=sys.argv[3] or None)
    for part in (vila.vision_tower, vila.projector, vila.language_model):
        for tensor in (*part.parameters(), *part.buffers()):
            tensor.sum()
"""
WRITE_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from vila_ros.quantization.int4_writer import convert_folder
if sys.argv[2]:
    convert_folder(
        Path(sys.argv[2]), Path(sys.argv[3]), "compressed-tensors", progress=lambda line: None
    )
"""
# Fewer trials of scales and clips take less time; each gives back its memory before the next. The
# kernel's mark is set back after each block (proc_pid_clear_refs(5)), to see whether blocks add up.
QUANTISE_CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from vila_ros.quantization import awq_search
from vila_ros.quantization.quantise import quantise_folder
from vila_ros.quantization.samples import drawn_conversations, split_samples
def told(line):
    if line.startswith("block"):
        status = Path("/proc/self/status").read_text()
        print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
        Path("/proc/self/clear_refs").write_text("5")
if sys.argv[2]:
    awq_search.RATIOS = awq_search.CLIP_STEPS = 2
    samples = split_samples(drawn_conversations(int(sys.argv[4])), "drawings")
    quantise_folder(Path(sys.argv[2]), Path(sys.argv[3]), samples, progress=told)
"""


def peak(child: str, *arguments: str) -> int:
    """Peak resident bytes of a process that runs a piece of code."""
    return max(peaks(child, *arguments))


def peaks(child: str, *arguments: str) -> list[int]:
    """Those of its parts, the last one's at the end."""
    done = subprocess.run(
        [sys.executable, "-c", child + PEAK, str(ROOT), *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return [int(line) for line in done.stdout.splitlines()]


def weight_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*.safetensors"))


def write_int4_checkpoint(folder: Path, shape: str) -> Path:
    """A VILA folder of a shape with random int4 weights in its language model."""
    from vila_ros.model.random_checkpoint import write_random_checkpoint
    from vila_ros.model.weights import open_weights, walk
    from vila_ros.quantization.formats import FORMATS
    from vila_ros.quantization.int4_writer import write_shards

    write_random_checkpoint(folder, shape, dtype="bfloat16")
    llm = folder / "llm"
    originals = open_weights(llm)

    def pieces() -> Any:
        for file, name, info in walk(originals):
            if ".layers." in name and len(info.shape) == 2:
                layer = name.removesuffix(".weight")
                tensors = FORMATS["compressed-tensors"].write(layer, random_int4(*info.shape))
                yield name, {f"{layer}.{suffix}": tensor for suffix, tensor in tensors.items()}
            else:
                yield name, {name: file.read(name).clone()}

    target = folder / "packed"
    target.mkdir()
    write_shards(target, pieces())
    for path in [*llm.glob("*.safetensors"), *llm.glob("*.index.json")]:
        path.unlink()
    for path in target.iterdir():
        path.replace(llm / path.name)
    target.rmdir()
    return folder


def measure_load(shape: str) -> dict[str, Any]:
    """Resident memory of loading, over the bytes on the disk."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        print(f"writing an int4 {shape} to {folder}", flush=True)
        checkpoint = write_int4_checkpoint(Path(folder) / "int4", shape)
        stored, nothing = weight_bytes(checkpoint), peak(LOAD_CHILD, "", "")
        for dtype in ("", "float32"):
            ratio = (peak(LOAD_CHILD, str(checkpoint), dtype) - nothing) / stored
            label = dtype or "stored"
            figures[f"load_ratio_{label}"] = round(ratio, 3)
            print(
                f"loading {shape} as {label}: {ratio:.3f} times its {stored / 1e9:.3f} GB, "
                "all weights read"
            )
        nothing = peak(WRITE_CHILD, "", "")
        written = peak(WRITE_CHILD, str(checkpoint), str(Path(folder) / "again")) - nothing
        figures["write_peak_gb"] = round(written / 1e9, 3)
        print(f"writing and sealing {shape}, as quantising ends: {written / 1e9:.3f} GB at most")
    return figures


def measure_quantise(shape: str) -> dict[str, Any]:
    """Peak memory of quantising a model of a shape, against its bf16 bytes and one block.

    Measured in one layer of the shape's width by the default number of samples. How much higher
    the peak is in each further layer is measured by few samples, and added for all the layers.
    """
    from vila_ros.model.random_checkpoint import SHAPES as CHECKPOINTS
    from vila_ros.model.random_checkpoint import write_random_checkpoint

    whole = CHECKPOINTS[shape]
    nothing = peak(QUANTISE_CHILD, "", "", "")
    stored: dict[int, int] = {}
    took: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for layers, samples in ((LAYERS, FEW_SAMPLES), (1, SAMPLES)):
            # A tower of three layers, whose time is not of interest; the limit counts no more.
            sizes = replace(whole, layers=layers, vision_layers=3)
            model = write_random_checkpoint(Path(folder) / str(layers), sizes, dtype="bfloat16")
            stored[layers] = weight_bytes(model)
            seconds = time.perf_counter()
            used = peaks(QUANTISE_CHILD, str(model), f"{model}-int4", str(samples))
            seconds = time.perf_counter() - seconds
            took[layers] = [(peak - nothing) / 1e9 for peak in used]
            print(
                f"quantising {layers} layers of {shape}'s width by {samples} samples: "
                f"{', '.join(f'{gb:.3f}' for gb in took[layers])} GB at most in each block and at "
                f"the end, {seconds:.0f} s",
                flush=True,
            )
    bf16_layer = (stored[LAYERS] - stored[1]) / (LAYERS - 1) / 1e9
    bf16 = stored[1] / 1e9 + bf16_layer * (whole.layers - 1)
    growth = statistics.linear_regression(range(LAYERS), took[LAYERS][:LAYERS]).slope
    most = max(took[1]) + max(0.0, growth) * (whole.layers - 1)
    limit = bf16 + 2 * bf16_layer
    print(
        f"extrapolated to {whole.layers} layers, {growth:+.3f} GB from each to the next: "
        f"{most:.3f} GB at most; bf16 {bf16:.3f} GB and one block in float32 "
        f"{2 * bf16_layer:.3f} GB are {limit:.3f} GB"
    )
    return {
        "quantise_measured_gb": round(max(took[1]), 3),
        "quantise_growth_gb": round(growth, 4),
        "quantise_peak_gb": round(most, 3),
        "quantise_limit_gb": round(limit, 3),
    }
