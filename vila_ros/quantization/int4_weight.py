# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One linear layer's weight in four bits, whatever format it was stored in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from vila_ros.quantization.groups import Rounded


@dataclass(frozen=True, eq=False)
class Int4Weight:
    """weight[o, k] = (q[o, k] - zeros[o, g]) * scales[o, g], with g the group of column k.

    packed: int32 [out, in / 8]; bits 4i to 4i+3 of word j are q[o, 8j + i], 0 to 15. This is the
    layout of compressed-tensors' weight_packed, so that such files are used where they are mapped.
    scales: float16, bfloat16 or float32 [out, groups]. zeros: uint8 [out, groups], 0 to 15.
    input_scale: [in], multiplies the layer's input; None for 1.
    """

    packed: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor
    input_scale: torch.Tensor | None = None

    @property
    def rows(self) -> int:
        """Outputs of the layer."""
        return self.packed.shape[0]

    @property
    def columns(self) -> int:
        """Inputs of the layer."""
        return self.packed.shape[1] * 8

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return self.columns // self.scales.shape[1]

    @property
    def symmetric(self) -> bool:
        """Whether every zero point is 8, the middle."""
        return bool((self.zeros == 8).all())

    @property
    def nbytes(self) -> int:
        """Bytes of all parts."""
        extra = 0 if self.input_scale is None else self.input_scale.nbytes
        return self.packed.nbytes + self.scales.nbytes + self.zeros.nbytes + extra

    def q(self) -> torch.Tensor:
        """The integers, uint8 [out, in]."""
        return unpack_nibbles(self.packed)

    def to(self, device: torch.device) -> Int4Weight:
        """The same on a device."""
        return replace(
            self,
            packed=self.packed.to(device),
            scales=self.scales.to(device),
            zeros=self.zeros.to(device),
            input_scale=None if self.input_scale is None else self.input_scale.to(device),
        )

    def dequantise(
        self, dtype: torch.dtype = torch.float32, start: int = 0, end: int | None = None
    ) -> torch.Tensor:
        """Rows [start, end) as floating-point numbers [rows, in], rounded once to dtype.

        input_scale is left to the caller.
        """
        rows = slice(start, self.rows if end is None else end)
        q = unpack_nibbles(self.packed[rows])
        zeros, scales = self.zeros[rows], self.scales[rows].float()
        grouped = q.view(len(q), scales.shape[1], -1).float()
        grouped.sub_(zeros[:, :, None]).mul_(scales[:, :, None])
        return grouped.view(len(q), -1).to(dtype)

    @classmethod
    def of(cls, rounded: Rounded, scale_dtype: torch.dtype = torch.float16) -> Int4Weight:
        """Rounded integers, their scales stored in scale_dtype."""
        return cls(pack_nibbles(rounded.q), rounded.scales.to(scale_dtype), rounded.zeros)


def pack_nibbles(q: torch.Tensor) -> torch.Tensor:
    """uint8 [rows, n], 0 to 15, n a multiple of 8 -> int32 [rows, n / 8], the first one lowest."""
    pairs = q[:, 0::2] | (q[:, 1::2] << 4)
    return pairs.reshape(-1).view(torch.int32).view(len(q), -1)


def unpack_nibbles(packed: torch.Tensor) -> torch.Tensor:
    """int32 [rows, n] -> uint8 [rows, 8 n]."""
    pairs = packed.reshape(-1).view(torch.uint8).view(len(packed), -1)
    return torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(1)
