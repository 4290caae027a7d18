# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Int4 weights restored on a CUDA GPU by a Triton kernel, as prompts are multiplied with them.

torch's own operations make several passes over the weight for that, this one.
TRITON_INTERPRET=1 runs the kernel on the CPU, by which it is tested where there is no GPU.

A product by Triton that reads the packed weight as it is stored was tried, so that a GPU would hold
it once: on an H100 it took 1.5 to 2 times as long as torch's kernel on its own layout (cuda_int4).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from vila_ros.quantization.int4_weight import Int4Weight

OUTPUTS, COLUMNS = 8, 512  # of the weight, a program


@triton.jit
def restore_kernel(
    packed, scales, zeros, out, outputs, columns, groups,
    GROUP: tl.constexpr, OUTPUTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """A block of the weight in out's type, rounded once."""
    output = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (output < outputs) & (column < columns)
    first = output.to(tl.int64) * columns
    word = tl.load(packed + (first + column) // 8, inside, other=0)
    q = ((word >> (4 * (column % 8))) & 15).to(tl.float32)
    place = output * groups + column // GROUP
    zero = tl.load(zeros + place, inside, other=0).to(tl.float32)
    scale = tl.load(scales + place, inside, other=0).to(tl.float32)
    tl.store(out + first + column, ((q - zero) * scale).to(out.dtype.element_ty), inside)


def restored(weight: Int4Weight, dtype: torch.dtype) -> torch.Tensor:
    """The weight as numbers [out, in], rounded once to dtype; see Int4Weight.dequantise."""
    out = torch.empty(weight.rows, weight.columns, dtype=dtype, device=weight.packed.device)
    grid = (triton.cdiv(weight.rows, OUTPUTS), triton.cdiv(weight.columns, COLUMNS))
    restore_kernel[grid](
        weight.packed, weight.scales, weight.zeros, out, weight.rows, weight.columns,
        weight.scales.shape[1], GROUP=weight.group, OUTPUTS=OUTPUTS, COLUMNS=COLUMNS, num_warps=4,
    )  # fmt: skip
    return out


def try_out(device: torch.device) -> None:
    """Restore once; raises where that fails, RuntimeError where it is wrong."""
    packed = torch.full((16, 16), 0x77777777, dtype=torch.int32, device=device)
    scales = torch.full((16, 1), 0.5, dtype=torch.float16, device=device)
    weight = Int4Weight(packed, scales, torch.full((16, 1), 5, dtype=torch.uint8, device=device))
    found = restored(weight, torch.float32)
    if not bool((found == 1).all()):
        raise RuntimeError(f"a weight of 1 is restored as {found[0, 0].item()}")
