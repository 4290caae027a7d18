# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""torch's own int4 product, `_weight_int4pack_mm`: a CUDA kernel, with a twin on the CPU.

The CPU twin has another packing and the same arithmetic, by which the conversion is tested where
there is no GPU. The weight there is (q - 8) * scale + offset, so that offset = (8 - zero) * scale
(pytorch, aten/src/ATen/native/cuda/int4mm.cu).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vila_ros.quantization.int4_weight import Int4Weight

INNER_TILES = 8
GROUPS = (32, 64, 128, 256)
ROWS_MULTIPLE = 8
COLUMNS_MULTIPLE = 16 * INNER_TILES


@dataclass(frozen=True, eq=False)
class CudaInt4:
    """A weight in the layout of torch's kernel.

    scales: bfloat16 [groups, out, 2], scale and offset.
    """

    packed: torch.Tensor
    scales: torch.Tensor
    group: int

    @staticmethod
    def takes(weight: Int4Weight) -> bool:
        """Whether the kernel takes a weight's sizes."""
        return (
            weight.group in GROUPS
            and weight.rows % ROWS_MULTIPLE == 0
            and weight.columns % COLUMNS_MULTIPLE == 0
        )

    @classmethod
    def of(cls, weight: Int4Weight) -> CudaInt4 | None:
        """Repack on the weight's device; None where the kernel does not take the sizes."""
        if not cls.takes(weight):
            return None
        q = weight.q()
        if q.device.type == "cuda":
            # Two a byte, the first in the high nibble.
            pairs = (q[:, 0::2] << 4) | q[:, 1::2]
            packed = torch._convert_weight_to_int4pack(pairs.contiguous(), INNER_TILES)
        else:
            packed = torch._convert_weight_to_int4pack_for_cpu(q.int(), INNER_TILES)
        return cls(packed, scales_and_offsets(weight), weight.group)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """X [n, in] -> [n, out] in bfloat16, the kernel's only type."""
        given = x.to(torch.bfloat16)
        if given.device.type != "cuda":
            return torch.ops.aten._weight_int4pack_mm_for_cpu(
                given, self.packed, self.group, self.scales
            )
        return torch._weight_int4pack_mm(given, self.packed, self.group, self.scales)


def scales_and_offsets(weight: Int4Weight) -> torch.Tensor:
    """bfloat16 [groups, out, 2] for the kernel."""
    scales = weight.scales.float()
    offsets = (8 - weight.zeros.float()) * scales
    return torch.stack([scales, offsets], dim=-1).transpose(0, 1).contiguous().to(torch.bfloat16)
