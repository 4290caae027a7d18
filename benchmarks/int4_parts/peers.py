# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The int4 products of a decoder's layers beside those of torch and of OpenVINO.

Each contender has as many distinct weights of a size as no cache holds, and multiplies with all of
them in a turn; the contenders take turns, and a figure is the median of the turns. OpenVINO has all
weights of a turn in one graph, so that its cost of a call is shared; the others are called weight
by weight. What its three rows differ in is the arithmetic: its int8 row rounds activations too.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from int4_parts.shapes import PROMPT, SHAPES, random_int4, timed

from vila_ros.quantization import native
from vila_ros.quantization.int4_linear import Int4Linear
from vila_ros.quantization.int4_weight import Int4Weight

TURN_BYTES = 96 << 20
"""Of int4 weights in a turn: three times the largest cache of the machines measured so far."""
MOST_WEIGHTS = 64
OURS, BFLOAT16, INT4 = "vila_ros", "torch bf16", "torch int4"
OPENVINO = {
    "openvino f32": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "openvino bf16": {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "openvino int8": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"},
}
Run = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""Float32 [rows, in] -> [rows, out] of each weight."""


@dataclass(frozen=True)
class Layers:
    """Linear layers of one size. count: of them in the whole decoder."""

    name: str
    rows: int
    columns: int
    count: int


@dataclass
class Contender:
    """A way to multiply, and by rows of input: the seconds of its turns, and how far its products
    are off those in float32 (relative root mean square)."""

    name: str
    run: Run
    turns: dict[int, list[float]] = field(default_factory=dict)
    off: dict[int, float] = field(default_factory=dict)


def layers_of(shape: str) -> list[Layers]:
    """The linear layers of a shape's decoder by size, the output layer left out (it is no int4)."""
    hidden, count, heads, kv_heads, mlp, _ = SHAPES[shape]
    keys = hidden // heads * kv_heads
    sizes = [
        ("q", hidden, hidden), ("k", keys, hidden), ("v", keys, hidden), ("o", hidden, hidden),
        ("gate", mlp, hidden), ("up", mlp, hidden), ("down", hidden, mlp),
    ]  # fmt: skip
    names: dict[tuple[int, int], list[str]] = {}
    for name, rows, columns in sizes:
        names.setdefault((rows, columns), []).append(name)
    return [Layers(" ".join(some), *size, count * len(some)) for size, some in names.items()]


def ours(weights: Sequence[Int4Weight]) -> Run:
    """The layer of this package; for one row its kernel, as the decoder's step calls it."""
    layers = [Int4Linear(weight) for weight in weights]
    kernels = native.library()

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        if kernels is None or len(x) > 1:
            return [layer(x) for layer in layers]
        return [native.int4_product(kernels, one.matrix, x, one.out_features) for one in layers]

    return run


def torch_int4(weights: Sequence[Int4Weight]) -> Run:
    """Torch's own kernel, which wants bfloat16 to be fast."""
    operators = torch.ops.aten
    given = []
    for weight in weights:
        packed = operators._convert_weight_to_int4pack_for_cpu(weight.q().int(), 1)
        scales = weight.scales.float()
        pairs = torch.stack([scales, (8 - weight.zeros.float()) * scales], dim=-1)
        given.append((packed, pairs.transpose(0, 1).contiguous().bfloat16(), weight.group))

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.bfloat16()
        return [
            operators._weight_int4pack_mm_for_cpu(x, packed, group, pairs)
            for packed, pairs, group in given
        ]

    return run


def torch_bfloat16(weights: Sequence[Int4Weight]) -> Run:
    """The same weights, restored: what int4 is to be faster than."""
    restored = [weight.dequantise(torch.bfloat16) for weight in weights]

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        x = x.bfloat16()
        return [F.linear(x, weight) for weight in restored]

    return run


def openvino_graph(weights: Sequence[Int4Weight]) -> Any:
    """One input, multiplied with each weight by the pattern that OpenVINO keeps in four bits."""
    import openvino as ov
    from openvino import opset13 as ops

    def nibbles(values: torch.Tensor, shape: list[int]) -> Any:
        flat = values.contiguous().view(torch.uint8).numpy().reshape(-1)
        # The constant copies: a tensor over an array does not keep it alive.
        return ov.op.Constant(ov.Tensor(flat, ov.Shape(shape), ov.Type.u4), shared_memory=False)

    columns = weights[0].columns
    x = ops.parameter([-1, columns], ov.Type.f32, name="x")
    products = []
    for weight in weights:
        rows, groups = weight.scales.shape
        pairs = weight.zeros[:, 0::2] | (weight.zeros[:, 1::2] << 4)
        q = ops.convert(nibbles(weight.packed, [rows, groups, weight.group]), "f16")
        zeros = ops.convert(nibbles(pairs, [rows, groups, 1]), "f16")
        scales = ops.constant(weight.scales.half().numpy()[:, :, None])
        restored = ops.multiply(ops.subtract(q, zeros), scales)
        matrix = ops.convert(ops.reshape(restored, [rows, columns], False), "f32")
        products.append(ops.result(ops.matmul(x, matrix, False, True)))
    return ov.Model(products, [x], "layers")


def openvino(graph: Any, settings: dict[str, str]) -> Run:
    """A graph compiled for as many threads as torch has."""
    import openvino as ov

    fixed = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(torch.get_num_threads()),
        # Left to itself it counts half of the cores where they are hyperthreads.
        "ENABLE_HYPER_THREADING": "YES",
    }
    request = ov.Core().compile_model(graph, "CPU", fixed | settings).create_infer_request()

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        request.infer([x.numpy()], share_inputs=True)
        return [torch.from_numpy(out.data) for out in request.output_tensors]

    return run


def contenders(weights: Sequence[Int4Weight]) -> list[Contender]:
    """All that can run here."""
    found = [
        Contender(OURS, ours(weights)),
        Contender(BFLOAT16, torch_bfloat16(weights)),
        Contender(INT4, torch_int4(weights)),
    ]
    try:
        import openvino as _  # noqa: F401
    except ImportError:
        return found
    graph = openvino_graph(weights)
    return found + [Contender(name, openvino(graph, given)) for name, given in OPENVINO.items()]


@torch.inference_mode()
def measure_layers(layers: Layers, rounds: int) -> list[Contender]:
    """Every contender's turns on layers of one size."""
    one = random_int4(layers.rows, layers.columns)
    count = min(MOST_WEIGHTS, max(2, -(-TURN_BYTES // one.nbytes)))
    weights = [one, *(random_int4(layers.rows, layers.columns) for _ in range(count - 1))]
    found = contenders(weights)
    for rows in (1, PROMPT):
        x = torch.randn(rows, layers.columns)
        expected = x @ one.dequantise().T
        for mine in found:
            off = mine.run(x)[0].float() - expected  # the first call makes buffers, too
            mine.off[rows] = float(off.norm() / expected.norm())
            mine.turns[rows] = []
        for _ in range(rounds if rows == 1 else max(1, rounds // 8)):
            for mine in found:
                mine.turns[rows].append(timed(lambda: mine.run(x)) / count)  # noqa: B023
    return found


def measure_peers(shape: str, rounds: int) -> dict[str, Any]:
    """Milliseconds a layer, printed by size, and of all of a decoder's layers together."""
    totals: dict[str, dict[int, float]] = {}
    worst: dict[str, dict[int, float]] = {}
    for layers in layers_of(shape):
        found = measure_layers(layers, rounds)
        weight = random_int4(layers.rows, layers.columns).nbytes
        print(f"{shape} {layers.name}: {layers.rows} x {layers.columns}, {layers.count} layers")
        for mine in found:
            took = {rows: statistics.median(turns) for rows, turns in mine.turns.items()}
            sums, offs = totals.setdefault(mine.name, {}), worst.setdefault(mine.name, {})
            for rows, seconds in took.items():
                sums[rows] = sums.get(rows, 0.0) + seconds * layers.count
                offs[rows] = max(offs.get(rows, 0.0), mine.off[rows])
            speed = f"{weight / took[1] / 1e9:5.1f} GB/s" if mine.name != BFLOAT16 else ""
            print(
                f"  {mine.name:14} 1 row {1e3 * took[1]:7.3f} ms {speed:11} {PROMPT} rows "
                f"{1e3 * took[PROMPT]:8.2f} ms",
                flush=True,
            )
    if not any(name in totals for name in OPENVINO):
        print("OpenVINO: not measured, the module openvino cannot be imported here")
    return summed(shape, totals, worst)


def summed(
    shape: str, totals: dict[str, dict[int, float]], worst: dict[str, dict[int, float]]
) -> dict[str, Any]:
    """Print and return what all int4 layers of a decoder take together, by contender."""
    fastest = {rows: min(totals, key=lambda n: totals[n][rows]) for rows in (1, PROMPT)}
    print(f"{shape}, all layers of the decoder:")
    figures: dict[str, Any] = {}
    for name, sums in totals.items():
        cells = []
        for rows, words in ((1, "1 row"), (PROMPT, f"{PROMPT} rows")):
            mark = "fastest" if fastest[rows] == name else ""
            times = totals[OURS][rows] / sums[rows]
            cells.append(
                f"{words} {1e3 * sums[rows]:8.1f} ms, {times:4.2f} times our speed, off "
                f"{worst[name][rows]:.2%} {mark:7}"
            )
        print(f"  {name:14} {'  '.join(cells).rstrip()}")
        figures[name] = {
            "row_ms": round(1e3 * sums[1], 2),
            "row_off": round(worst[name][1], 5),
            "prompt_ms": round(1e3 * sums[PROMPT], 1),
            "prompt_off": round(worst[name][PROMPT], 5),
        }
    return figures
