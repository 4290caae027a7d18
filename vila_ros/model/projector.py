# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The projector: vision features to language model embeddings, fewer and wider.

Layer numbers inside `layers` are those of the published weights, whose names begin with them
(llava/model/multimodal_projector/base_projector.py in NVlabs/VILA).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import TokenOrder


class BlockDownsample(nn.Module):
    """Joins each block of patches into one token of size*size*C channels.

    An odd grid is padded by zeros at the bottom and the right. Channels inside a token follow the
    block's rows: (r, c), (r, c+1), (r+1, c), …; tokens follow the grid's rows, or its columns.
    """

    def __init__(self, size: int, order: TokenOrder = "row"):
        super().__init__()
        self.size = size
        self.order = order

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N, C] of a square grid -> [B, ceil(sqrt(N) / size)**2, size*size*C]."""
        batch, count, channels = tokens.shape
        side = math.isqrt(count)
        if side * side != count:
            raise InvalidCheckpoint(
                f"{count} vision tokens form no square grid, which this projector needs; "
                "the class token is probably kept: set mm_vision_select_feature to 'patch'"
            )
        missing = -side % self.size
        grid = tokens.view(batch, side, side, channels)
        grid = nn.functional.pad(grid, (0, 0, 0, missing, 0, missing))
        blocks = (side + missing) // self.size
        grid = grid.view(batch, blocks, self.size, blocks, self.size, channels)
        if self.order == "row":
            grid = grid.permute(0, 1, 3, 2, 4, 5)  # [B, row, column, r, c, C]
        else:
            grid = grid.permute(0, 3, 1, 2, 4, 5)  # [B, column, row, r, c, C]
        return grid.reshape(batch, blocks * blocks, self.size * self.size * channels)

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"size={self.size}, order={self.order}"


class Projector(nn.Module):
    """[B, N, C] vision features -> [B, M, H] embeddings; M < N where the kind downsamples."""

    def __init__(self, kind: str, channels: int, hidden: int, order: TokenOrder = "row"):
        super().__init__()
        self.kind = kind
        self.block = _block_size(kind)
        self.layers = _layers(kind, channels, hidden, order)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[B, N, C] -> [B, M, H]."""
        return self.layers(features)

    def grid(self, side: int) -> int:
        """Tokens along a side of the output, for side patches along a side of the input."""
        return math.ceil(side / self.block)

    def tokens(self, count: int) -> int:
        """Tokens made of count vision tokens: M for N."""
        return count if self.block == 1 else self.grid(math.isqrt(count)) ** 2


def _block_size(kind: str) -> int:
    if kind == "mlp_downsample_3x3_fix":
        return 3
    return 2 if kind.startswith("mlp_downsample") else 1


def _layers(kind: str, channels: int, hidden: int, order: TokenOrder) -> nn.Module:
    if kind == "linear":
        return nn.Linear(channels, hidden)
    if kind in ("mlp_downsample", "mlp_downsample_2x2_fix"):
        return nn.Sequential(
            BlockDownsample(2, order),
            nn.LayerNorm(4 * channels),
            nn.Linear(4 * channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        )
    if kind == "mlp_downsample_3x3_fix":
        return nn.Sequential(
            BlockDownsample(3),
            nn.LayerNorm(9 * channels),
            nn.Linear(9 * channels, 3 * channels),
            nn.GELU(),
            nn.LayerNorm(3 * channels),
            nn.Linear(3 * channels, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
        )
    depth = int(kind.removeprefix("mlp").removesuffix("x_gelu"))
    layers: list[nn.Module] = [nn.Linear(channels, hidden)]
    for _ in range(depth - 1):
        layers += [nn.GELU(), nn.Linear(hidden, hidden)]
    return nn.Sequential(*layers)
