# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Media encoders of NVILA: what stands around an image's rows, and how a clip is pooled.

Follows llava/model/encoders/{image/basic,video/basic,video/tsp}.py in NVlabs/VILA.
"""

from __future__ import annotations

import math

import torch

from vila_ros.errors import InvalidCheckpoint

PoolSize = tuple[int, int, int]


def frame_rows(
    rows: torch.Tensor, start: torch.Tensor | None, end: torch.Tensor | None
) -> torch.Tensor:
    """[n, H] with the embeddings of the start and end text, [s, H] and [e, H], around it."""
    return torch.cat([part for part in (start, rows, end) if part is not None])


def encode_clip(
    frames: torch.Tensor,
    pool_sizes: tuple[PoolSize, ...] = (),
    start: torch.Tensor | None = None,
    end: torch.Tensor | None = None,
    separator: torch.Tensor | None = None,
) -> torch.Tensor:
    """Projected frames [T, n, H] of square grids -> the rows of the clip, [N, H].

    Without pool sizes (the basic encoder) every frame is framed like an image. With pool sizes
    (TSP) each level mean-pools (frames, rows, columns), and separator follows each level.
    """
    if not pool_sizes:
        return torch.cat([frame_rows(rows, start, end) for rows in frames])
    parts = []
    for pool_size in pool_sizes:
        pooled = pool(frames, pool_size)
        parts += [frame_rows(rows, start, end) for rows in pooled]
        if separator is not None:
            parts.append(separator)
    return torch.cat(parts)


def pool(frames: torch.Tensor, pool_size: PoolSize) -> torch.Tensor:
    """Means over blocks of (frames, rows, columns): [T, n, H] -> [T/t, n/(r*c), H].

    The reference refuses a clip whose frames do not divide by t. Here the last frame is repeated,
    since a robot's window holds whatever number arrived.
    """
    count, tokens, width = frames.shape
    side = math.isqrt(tokens)
    t, r, c = pool_size
    check_pool(side, pool_size)
    frames = torch.cat([frames, frames[-1:].expand(-count % t, -1, -1)])
    blocks = frames.view(-1, t, side // r, r, side // c, c, width)
    return blocks.mean(5).mean(3).mean(1).flatten(1, 2)


def check_pool(side: int, pool_size: PoolSize) -> None:
    """InvalidCheckpoint unless a grid of side x side divides by the pool's rows and columns."""
    if side % pool_size[1] or side % pool_size[2]:
        raise InvalidCheckpoint(
            f"TSP pool {pool_size} does not divide a grid of {side} x {side} tokens"
        )


def clip_rows(
    frames: int,
    tokens: int,
    pool_sizes: tuple[PoolSize, ...],
    frame_text: int,
    separator_text: int,
) -> int:
    """How many rows encode_clip gives for frames of tokens each and texts of so many tokens."""
    if not pool_sizes:
        return frames * (tokens + frame_text)
    return sum(
        math.ceil(frames / t) * (tokens // (r * c) + frame_text) + separator_text
        for t, r, c in pool_sizes
    )
