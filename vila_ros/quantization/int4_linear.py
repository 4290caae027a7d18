# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Layers that keep their weights small: four bits, or the sixteen that were stored.

A few rows (decoding) are multiplied with the packed weights; many rows (a prompt) with blocks of
restored ones, which costs little beside the product and runs at the speed of torch's.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vila_ros.quantization import native, triton_runtime
from vila_ros.quantization.cuda_int4 import CudaInt4
from vila_ros.quantization.int4_weight import Int4Weight

FEW_ROWS = 8
"""Rows up to which reading packed weights is faster than restoring them."""

WIDE = 32
"""Rows from which a GPU restores weights: its int4 kernel reads them once for every 16 or so."""

BLOCK_BYTES = 96 << 20
"""Of restored weights held at a time; a product of many rows gains by being whole."""


class Int4Linear(nn.Module):
    """x @ weight.T + bias with an Int4Weight; in the place of an nn.Linear.

    On the CPU the sums are float32 whatever x is; the answer has x's type. Prompts of float32 are
    multiplied in bfloat16 there where the CPU has instructions for it (see wide_dtype).
    """

    packed: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor
    input_scale: torch.Tensor | None
    bias: torch.Tensor | None

    def __init__(self, weight: Int4Weight, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.columns, weight.rows
        for name in ("packed", "scales", "zeros"):
            self.register_buffer(name, getattr(weight, name))
        scale = weight.input_scale
        self.register_buffer("input_scale", None if scale is None else scale.float())
        self.register_buffer("bias", None if bias is None else bias.float())
        self._matrix: native.Int4Matrix | None = None
        self._cuda: CudaInt4 | None = None

    @property
    def weight(self) -> Int4Weight:
        """The packed weight."""
        return Int4Weight(self.packed, self.scales, self.zeros, self.input_scale)

    @property
    def matrix(self) -> native.Int4Matrix:
        """The weight for the compiled kernels."""
        if self._matrix is None:
            self._matrix = native.int4_matrix(self.weight, self.bias)
        return self._matrix

    def hold(self, weight: Int4Weight) -> None:
        """Take the same weight from other memory, and let go of all that was made of it."""
        for name in ("packed", "scales", "zeros", "input_scale"):
            setattr(self, name, getattr(weight, name))
        self._matrix = None
        self._cuda = None

    def to_cuda(self, device: torch.device) -> None:
        """Move to a GPU, which then holds the weight twice: decoding reads it in the layout of
        torch's kernel, prompts restore it from this one."""
        moved = self.weight.to(device)
        self.hold(moved)
        self.bias = None if self.bias is None else self.bias.to(device)
        self._cuda = CudaInt4.of(moved)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out] in x's type."""
        flat = x.reshape(-1, self.in_features)
        if x.device.type == "cpu":
            out = self._few(flat) if len(flat) <= FEW_ROWS else self._many(flat)
        else:
            out = self._on_device(flat)
        return out.to(x.dtype).view(*x.shape[:-1], self.out_features)

    def _few(self, x: torch.Tensor) -> torch.Tensor:
        kernels = native.library()
        if kernels is None:
            return self._many(x)
        given = x.float().contiguous()
        return native.int4_product(kernels, self.matrix, given, self.out_features)

    def _many(self, x: torch.Tensor) -> torch.Tensor:
        """By blocks of restored weights."""
        kind = wide_dtype() if x.dtype == torch.float32 and len(x) > FEW_ROWS else x.dtype
        out = torch.empty(len(x), self.out_features, dtype=x.dtype)
        if self.input_scale is not None:
            x = (x * self.input_scale).to(x.dtype)
        x = x.to(kind)
        step = max(1, BLOCK_BYTES // (self.in_features * kind.itemsize))
        for start in range(0, self.out_features, step):
            end = min(start + step, self.out_features)
            # Rounds or widens on its way, so that no other copy is made.
            out[:, start:end] = F.linear(x, self._restored(kind, start, end))
        return out if self.bias is None else out.add_(self.bias)

    def _restored(self, kind: torch.dtype, start: int, end: int) -> torch.Tensor:
        kernels = native.library()
        if kernels is None or kind == torch.float16:
            return self.weight.dequantise(kind, start, end)
        out = scratch(kind, end - start, self.in_features)
        native.dequantised(kernels, self.matrix, start, end, out)
        return out

    def _on_device(self, x: torch.Tensor) -> torch.Tensor:
        if self.input_scale is not None:
            x = (x * self.input_scale).to(x.dtype)
        if self._cuda is not None and len(x) <= WIDE:
            out = self._cuda.product(x)
        else:
            out = F.linear(x, restored_on_device(self.weight, x.dtype))
        return out if self.bias is None else out + self.bias


def restored_on_device(weight: Int4Weight, dtype: torch.dtype) -> torch.Tensor:
    """A GPU's weight as numbers [out, in]."""
    if not triton_runtime.usable(weight.packed.device):
        return weight.dequantise(dtype)
    from vila_ros.quantization.triton_int4 import restored

    return restored(weight, dtype)


def multiply_into(linears: Sequence[Int4Linear], x: torch.Tensor, out: torch.Tensor) -> None:
    """Write x @ weight.T of several layers side by side, without their biases, on the CPU.

    x: bfloat16 [rows, in], multiplied by the layers' input scales already. out: bfloat16 [rows, sum
    of the layers' outputs]. A product into memory that is there takes no time for fresh pages.
    """
    kernels = native.library()
    assert kernels is not None
    total, columns = sum(linear.out_features for linear in linears), x.shape[1]
    blocks = math.ceil(total * columns * x.element_size() / BLOCK_BYTES)
    step = math.ceil(total / blocks)
    for start in range(0, total, step):
        end = min(start + step, total)
        restored = scratch(x.dtype, end - start, columns)
        first = 0
        for linear in linears:
            low, high = max(start - first, 0), min(end - first, linear.out_features)
            if low < high:
                place = restored[first + low - start : first + high - start]
                native.dequantised(kernels, linear.matrix, low, high, place)
            first += linear.out_features
        torch.mm(x, restored.t(), out=out[:, start:end])


def scratch(kind: torch.dtype, rows: int, columns: int) -> torch.Tensor:
    """Memory [rows, columns] for a restored block, the same each time in a thread: pages that are
    given back and fetched again for every block would cost as much as filling them."""
    needed = rows * columns * kind.itemsize
    held: torch.Tensor | None = getattr(_local, "scratch", None)
    if held is None or held.nbytes < needed:
        held = torch.empty(needed, dtype=torch.uint8)
        _local.scratch = held
    return held[:needed].view(kind).view(rows, columns)


_local = threading.local()


class StoredLinear(nn.Module):
    """x @ weight.T with the weight in the type it was stored in: an output layer whose 16 bits
    would double in float32."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out] in x's type."""
        if x.dtype == self.weight.dtype:
            return F.linear(x, self.weight)
        flat = x.reshape(-1, self.in_features)
        kernels = native.library()
        if kernels is not None and len(flat) <= FEW_ROWS and x.device.type == "cpu":
            matrix = native.dense_matrix(self.weight)
            given = flat.float().contiguous()
            out = native.dense_product(kernels, matrix, given, self.out_features)
        else:
            step = max(1, BLOCK_BYTES // (self.in_features * x.dtype.itemsize))
            parts = [F.linear(flat, part.to(x.dtype)) for part in self.weight.split(step)]
            out = torch.cat(parts, dim=1)
        return out.to(x.dtype).view(*x.shape[:-1], self.out_features)


class StoredEmbedding(nn.Module):
    """A table of rows in the type it was stored in, handed out in another."""

    def __init__(self, weight: torch.Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.dtype = dtype

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """int64 [...] -> [..., hidden]."""
        return F.embedding(ids, self.weight).to(self.dtype)


@cache
def wide_dtype() -> torch.dtype:
    """The type in which this CPU multiplies a float32 prompt: bfloat16 where it has instructions
    for that, several times as fast; rounding to 8 bits is far below what 4 have lost already."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return torch.float32
    known = {"avx512_bf16", "amx_bf16", "bf16"}
    line = next((x for x in flags.splitlines() if x.startswith(("flags", "Features"))), "")
    return torch.bfloat16 if known & set(line.split()) else torch.float32
