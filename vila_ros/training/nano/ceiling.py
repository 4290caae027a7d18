# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many things of each kind a head of its own reads off the features that vila-nano reads.

It answers nothing but that, so what it reaches is a mark for what the features hold of numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vila_ros.simulation.scene import FrameTruth
from vila_ros.simulation.shapes import KINDS
from vila_ros.simulation.truth import shown, unclear
from vila_ros.training.nano.shards import PATCHES, WIDTH, SceneRecord, Shards

MOST = 4
_HIDDEN, _BATCH, _RATE = 192, 64, 1e-3
_GRID = int(PATCHES**0.5) // 2
Report = Callable[[str], None]
CountReader = Callable[[NDArray[np.float16]], NDArray[np.int64]]
"""Features [B, 256, 384] to numbers [B, kinds], 0 to 4."""


class CountHead(nn.Module):
    """Features [B, 256, 384] to logits of 0 to 4 things of each kind, [B, kinds, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4 * WIDTH, _HIDDEN)
        self.places = nn.Parameter(torch.randn(_GRID**2, _HIDDEN) * 0.02)
        layer = nn.TransformerEncoderLayer(
            _HIDDEN, 4, 2 * _HIDDEN, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.kinds = nn.Parameter(torch.randn(len(KINDS), _HIDDEN) * 0.02)
        self.weigh = nn.Linear(_HIDDEN, len(KINDS))
        self.tell = nn.Sequential(
            nn.Linear(_HIDDEN, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, MOST + 1)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of features; see the class."""
        grid = features.unflatten(1, (_GRID, 2, _GRID, 2)).transpose(2, 3).flatten(3)
        joined = grid.reshape(len(features), _GRID**2, 4 * WIDTH)
        tokens = self.mix(self.enter(joined) + self.places)
        # Sums, not means: what is counted adds up.
        weights = torch.sigmoid(self.weigh(tokens))
        return self.tell(torch.einsum("btk,bth->bkh", weights, tokens) / 4 + self.kinds)  # type: ignore[no-any-return]


def read_counts(shards: Shards, epochs: int, report: Report) -> CountReader:
    """Train a head on the single views; what it reads from then on."""
    records = [record for record in shards.records if not record.is_clip]
    wanted = np.stack([count_kinds(record.frames[-1]) for record in records])
    shares = np.bincount(wanted[wanted >= 0], minlength=MOST + 1) / (wanted >= 0).sum()
    weights = torch.from_numpy((1 / np.sqrt(np.maximum(shares, 1e-3))).astype(np.float32))
    torch.manual_seed(0)
    head = CountHead()
    steps = max(1, epochs * len(records) // _BATCH)
    optimizer = torch.optim.AdamW(head.parameters(), _RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    chance = np.random.default_rng(0)
    for step in range(steps):
        chosen = chance.choice(len(records), min(_BATCH, len(records)), replace=False)
        features = shards.features(_pictures(records, chosen))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = head(features).float()
        target = torch.from_numpy(wanted[chosen]).flatten()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), target, weights, ignore_index=-1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            report(f"counting head: {step + 1} of {steps} steps, loss {float(loss.detach()):.3f}")
    head.eval()

    @torch.no_grad()
    def read(features: NDArray[np.float16]) -> NDArray[np.int64]:
        return np.asarray(head(torch.from_numpy(features).float()).argmax(-1))

    return read


def count_kinds(truth: FrameTruth) -> NDArray[np.int64]:
    """How many things of each kind anybody would see; -1 where that is unclear or above 4."""
    counts = np.zeros(len(KINDS), np.int64)
    for thing in shown(truth):
        counts[KINDS.index(thing.kind)] += 1
    counts[counts > MOST] = -1
    for thing in unclear(truth):
        counts[KINDS.index(thing.kind)] = -1
    return counts


def _pictures(records: list[SceneRecord], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([records[index].pictures[-1] for index in chosen], np.int64)
