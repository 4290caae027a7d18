# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""InternViT-6B, the tower of VILA1.5-40b, under the names of its published weights.

Pre-norm blocks with RMSNorm, a joint qkv projection, queries and keys normalised over all heads
together, and a learned scale on each branch (InternVL, arXiv:2312.14238; modeling_intern_vit.py of
OpenGVLab/InternViT-6B-448px-V1-2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class InternVitShape:
    """Sizes of an InternViT; the defaults are those of its configuration class."""

    hidden: int = 3200
    heads: int = 25
    mlp: int = 12800
    image: int = 448
    patch: int = 14
    qkv_bias: bool = False
    qk_norm: bool = True
    epsilon: float = 1e-6

    @classmethod
    def from_config(cls, raw: Mapping[str, Any]) -> InternVitShape:
        """From the tower's config.json."""
        return cls(
            hidden=int(raw["hidden_size"]),
            heads=int(raw.get("num_attention_heads", cls.heads)),
            mlp=int(raw.get("intermediate_size", cls.mlp)),
            image=int(raw["image_size"]),
            patch=int(raw["patch_size"]),
            qkv_bias=bool(raw.get("qkv_bias", cls.qkv_bias)),
            qk_norm=bool(raw.get("qk_normalization", cls.qk_norm)),
            epsilon=float(raw.get("layer_norm_eps", cls.epsilon)),
        )


class RmsNorm(nn.Module):
    """Root mean square norm, in float32 before the weight is applied."""

    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[…, size] -> […, size]."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * wide.to(x.dtype)


class Embeddings(nn.Module):
    """Patches with a class token in front, and learned positions."""

    def __init__(self, shape: InternVitShape):
        super().__init__()
        positions = (shape.image // shape.patch) ** 2 + 1
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, shape.hidden))
        self.patch_embedding = nn.Conv2d(3, shape.hidden, shape.patch, stride=shape.patch)
        self.position_embedding = nn.Parameter(torch.zeros(1, positions, shape.hidden))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> [B, 1 + N, C]."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), -1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding


class Attention(nn.Module):
    """Self-attention over all tokens."""

    def __init__(self, shape: InternVitShape):
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.hidden, 3 * shape.hidden, bias=shape.qkv_bias)
        self.proj = nn.Linear(shape.hidden, shape.hidden)
        norm = RmsNorm if shape.qk_norm else lambda *_: nn.Identity()
        self.q_norm = norm(shape.hidden, shape.epsilon)
        self.k_norm = norm(shape.hidden, shape.epsilon)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, C] -> [B, T, C]."""
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_norm(query), self.k_norm(key), value)
        )
        mixed = scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two layers with an exact GELU."""

    def __init__(self, shape: InternVitShape):
        super().__init__()
        self.fc1 = nn.Linear(shape.hidden, shape.mlp)
        self.fc2 = nn.Linear(shape.mlp, shape.hidden)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, C] -> [B, T, C]."""
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each normed before and scaled after."""

    def __init__(self, shape: InternVitShape):
        super().__init__()
        self.attn = Attention(shape)
        self.mlp = Mlp(shape)
        self.norm1 = RmsNorm(shape.hidden, shape.epsilon)
        self.norm2 = RmsNorm(shape.hidden, shape.epsilon)
        self.ls1 = nn.Parameter(torch.ones(shape.hidden))
        self.ls2 = nn.Parameter(torch.ones(shape.hidden))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, C] -> [B, T, C]."""
        x = x + self.attn(self.norm1(x)) * self.ls1
        return x + self.mlp(self.norm2(x)) * self.ls2


class Encoder(nn.Module):
    """The blocks one after the other."""

    def __init__(self, shape: InternVitShape, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(Block(shape) for _ in range(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, T, C] -> [B, T, C]."""
        for block in self.layers:
            x = block(x)
        return x


class InternVit(nn.Module):
    """[B, 3, S, S] -> [B, 1 + N, C] after the given number of layers; no norm follows."""

    def __init__(self, shape: InternVitShape, layers: int):
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.encoder = Encoder(shape, layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> [B, 1 + N, C]."""
        return self.encoder(self.embeddings(pixels))
