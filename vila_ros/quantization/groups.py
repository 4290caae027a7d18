# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Four bits a weight: the rounding of AWQ, by groups of neighbouring input channels.

The arithmetic is that of pseudo_quantize_tensor in mit-han-lab/llm-awq, awq/quantize/quantizer.py,
operation by operation, so that its results are met bit by bit in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vila_ros.errors import InvalidCheckpoint, InvalidRequest

GROUP = 128
"""Weights that share a scale and a zero point, as published checkpoints have it."""

LEAST_RANGE = 1e-5
"""A group whose weights lie closer together is rounded as if it had this range."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """Integers and what restores them: weight = (q - zeros) * scales by groups of columns.

    q: uint8 [out, in], 0 to 15. scales: float [out, in / group]. zeros: uint8 [out, in / group];
    8 everywhere for symmetric rounding.
    """

    q: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return self.q.shape[1] // self.scales.shape[1]


def check_group(name: str, columns: int, group: int) -> None:
    """Raise InvalidRequest unless groups of that size divide a weight's columns."""
    if group < 16 or group % 16:
        raise InvalidRequest(f"group size {group} is not supported; use a multiple of 16, e.g. 128")
    if columns % group:
        fitting = [size for size in (128, 64, 32, 16) if columns % size == 0]
        fix = f"use --group {fitting[0]}" if fitting else "this model cannot be quantised"
        raise InvalidRequest(
            f"groups of {group} do not divide the {columns} inputs of {name}; {fix}"
        )


def check_finite(name: str, weight: torch.Tensor) -> None:
    """Raise InvalidCheckpoint for a weight with NaN or inf, which would spoil its whole group."""
    if not bool(torch.isfinite(weight).all()):
        bad = int((~torch.isfinite(weight)).sum())
        raise InvalidCheckpoint(
            f"{name} holds {bad} values that are NaN or infinite; the checkpoint is damaged, "
            "download or train it again"
        )


def round_to_groups(weight: torch.Tensor, group: int = GROUP, symmetric: bool = False) -> Rounded:
    """A float32 weight [out, in] to its nearest integers.

    symmetric: -8 to 7 around a fixed zero, for runtimes without zero points.
    """
    rows, columns = weight.shape
    grouped = weight.reshape(-1, group)
    if symmetric:
        largest = grouped.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_RANGE)
        scales = largest / 7
        q = torch.clamp(torch.round(grouped / scales), -8, 7) + 8
        zeros = torch.full_like(scales, 8)
    else:
        highest = grouped.amax(dim=1, keepdim=True)
        lowest = grouped.amin(dim=1, keepdim=True)
        scales = (highest - lowest).clamp(min=LEAST_RANGE) / 15
        zeros = (-torch.round(lowest / scales)).clamp_(0, 15)
        q = torch.clamp(torch.round(grouped / scales) + zeros, 0, 15)
    return Rounded(
        q.to(torch.uint8).view(rows, columns),
        scales.view(rows, -1),
        zeros.to(torch.uint8).view(rows, -1),
    )


def restore(rounded: Rounded) -> torch.Tensor:
    """(q - zeros) * scales, [out, in] in the scales' type."""
    rows, columns = rounded.q.shape
    kind = rounded.scales.dtype
    grouped = rounded.q.view(rows, -1, rounded.group).to(kind)
    restored = (grouped - rounded.zeros.to(kind)[:, :, None]) * rounded.scales[:, :, None]
    return restored.view(rows, columns)


def pseudo_quantise(
    weight: torch.Tensor, group: int = GROUP, symmetric: bool = False
) -> torch.Tensor:
    """What is left of a weight [out, in] after rounding; restore(round_to_groups(weight))."""
    shape = weight.shape
    grouped = weight.reshape(-1, group)
    if symmetric:
        largest = grouped.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_RANGE)
        scales = largest / 7
        rounded = torch.round(grouped / scales).clamp_(-8, 7)
        return rounded.mul_(scales).view(shape)
    highest = grouped.amax(dim=1, keepdim=True)
    lowest = grouped.amin(dim=1, keepdim=True)
    scales = (highest - lowest).clamp(min=LEAST_RANGE) / 15
    zeros = (-torch.round(lowest / scales)).clamp_(0, 15)
    rounded = torch.round(grouped / scales).add_(zeros).clamp_(0, 15)
    return rounded.sub_(zeros).mul_(scales).view(shape)
