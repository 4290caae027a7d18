# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""S2: an image seen at several scales by a tower of one size, features joined by channel.

Follows s2wrapper/core.py of bfshi/scaling_on_scales and merge_features_for_dynamic_s2 in
llava/model/llava_arch.py of NVlabs/VILA. Grids are batches of tiles in row order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import interpolate

from vila_ros.model.config import Scales


def to_tokens(maps: torch.Tensor) -> torch.Tensor:
    """[B, C, h, w] -> [B, h*w, C], rows first."""
    return maps.flatten(2).transpose(1, 2)


def to_maps(tokens: torch.Tensor) -> torch.Tensor:
    """[B, N, C] of a square grid -> [B, C, sqrt(N), sqrt(N)]."""
    side = math.isqrt(tokens.shape[1])
    return tokens.transpose(1, 2).unflatten(2, (side, side))


def split_tiles(maps: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[B, C, rows*h, columns*w] -> [rows*columns*B, C, h, w]; tile by tile, each with its batch."""
    strips = (strip.chunk(columns, dim=3) for strip in maps.chunk(rows, dim=2))
    return torch.cat([tile for strip in strips for tile in strip])


def merge_tiles(tiles: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The inverse of split_tiles: [rows*columns*B, C, h, w] -> [B, C, rows*h, columns*w]."""
    parts = tiles.chunk(rows * columns)
    strips = [torch.cat(parts[row * columns : (row + 1) * columns], 3) for row in range(rows)]
    return torch.cat(strips, 2)


def encode_scales(
    tower: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, scales: Scales
) -> torch.Tensor:
    """S2 with square scales: [B, 3, S, S] -> [B, N, C * number of scales].

    tower: [B, 3, tile, tile] -> [B, n, C] with a square n.
    """
    maps = []
    for size in scales.sizes:
        count = math.ceil(size / scales.tile)
        whole = _bicubic(_bicubic(pixels, size), count * scales.tile)
        features = merge_tiles(to_maps(tower(split_tiles(whole, count, count))), count, count)
        side = math.ceil(size / (count * scales.tile) * features.shape[-1])
        maps.append(_area(features, (side, side)))
    return to_tokens(_join(maps, scales.output))


def merge_scales(
    features: torch.Tensor, grid: tuple[int, int], scales: Scales
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Dynamic S2, one image: the features of its tiles -> one map, and the grid to project it in.

    features: [T, n, C]: square grids of all scales but the last, then rows x columns tiles (grid)
    of the last. Returns [1, C * number of scales, h, w] and (rows, columns).
    """
    maps, start = [], 0
    for rows, columns in scale_grids(grid, scales):
        tiles = features[start : start + rows * columns]
        maps.append(merge_tiles(to_maps(tiles), rows, columns))
        start += rows * columns
    return _join(maps, scales.output), scale_grids(grid, scales)[scales.output]


def repeat_scales(features: torch.Tensor, scales: Scales) -> torch.Tensor:
    """What dynamic S2 makes of an image that is not tiled: [B, n, C] -> [B, n, C * scales]."""
    return features.repeat(1, 1, len(scales.sizes))


def scale_grids(grid: tuple[int, int], scales: Scales) -> list[tuple[int, int]]:
    """(rows, columns) of the tiles of each scale of dynamic S2."""
    square = [(size // scales.sizes[0],) * 2 for size in scales.sizes[:-1]]
    return [*square, grid]


def _join(maps: Sequence[torch.Tensor], output: int) -> torch.Tensor:
    size = maps[output].shape[-2:]
    return torch.cat([_area(part, (size[0], size[1])) for part in maps], dim=1)


def _bicubic(maps: torch.Tensor, side: int) -> torch.Tensor:
    if maps.shape[-1] == side:
        return maps
    return interpolate(maps.float(), size=(side, side), mode="bicubic").to(maps.dtype)


def _area(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(maps.shape[-2:]) == size:
        return maps
    return interpolate(maps.float(), size=size, mode="area").to(maps.dtype)
