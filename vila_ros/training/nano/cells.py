# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What stands where in a picture's grid of visual tokens, for aligning the projector.

A caption of each place, so to speak: with some ten thousand pictures the words of whole captions
would not tell the projector which of 64 tokens they mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vila_ros.simulation.renderer import cell_owners
from vila_ros.simulation.scenes import HELD_OUT, Scene
from vila_ros.simulation.shapes import COLORS, KINDS

CELLS = 8
_ASPECT = 4 / 3
_MOST_RANKS = 4


@dataclass(frozen=True, eq=False)
class CellLabels:
    """[64] of each picture: kind and colour, counted from 1, 0 for none; whether a middle.

    owners: the thing's number, counted from 1. ranks: which one of its kind the thing is, in the
    order in which their first cells are read, from 1 to 4.
    """

    kinds: NDArray[np.uint8]
    colors: NDArray[np.uint8]
    middles: NDArray[np.bool_]
    owners: NDArray[np.uint8]
    ranks: NDArray[np.uint8]


def label_cells(scene: Scene) -> CellLabels:
    """The labels of a scene's pictures, [views, 64] each."""
    kinds = np.zeros((len(scene.views), CELLS * CELLS), np.uint8)
    colors = np.zeros_like(kinds)
    middles = np.zeros(kinds.shape, bool)
    numbers, ranks = np.zeros_like(kinds), np.zeros_like(kinds)
    for index, view in enumerate(scene.views):
        owners, middle = cell_owners(view.things, view.camera, _ASPECT, CELLS)
        cells = {thing: (owners == thing.number).ravel() for thing in view.things}
        seen = dict.fromkeys(KINDS, 0)
        for thing in sorted(view.things, key=lambda each: int(cells[each].argmax())):
            at = cells[thing]
            if not at.any():
                continue
            seen[thing.kind] += 1
            kinds[index, at] = 1 + KINDS.index(thing.kind)
            colors[index, at] = 1 + COLORS.index(thing.color)
            numbers[index, at] = 1 + thing.number
            ranks[index, at] = min(seen[thing.kind], _MOST_RANKS)
        middles[index] = middle.ravel()
    return CellLabels(kinds, colors, middles, numbers, ranks)


_UNSEEN = torch.zeros(1 + len(KINDS), 1 + len(COLORS), dtype=torch.bool)
for _number, _kind in enumerate(KINDS):
    _UNSEEN[1 + _number, 1 + COLORS.index(HELD_OUT[_kind])] = True


class CellHeads(nn.Module):
    """Says from single projected tokens what stands there; thrown away after training.

    words: ids of the first tokens of the kinds' and the colours' names. What a token shows is read
    off by the likeness to the words' own embeddings, so that pictures come to speak the language
    model's words.
    """

    def __init__(self, hidden: int, kind_ids: list[int], color_ids: list[int]) -> None:
        super().__init__()
        self._kind_ids, self._color_ids = kind_ids, color_ids
        self.norm = nn.LayerNorm(hidden)
        self.scale = nn.Parameter(torch.tensor(20.0))
        self.empty = nn.Parameter(torch.randn(2, hidden) * 0.02)
        self.place = nn.Linear(hidden, 2 * CELLS)
        self.middle = nn.Linear(hidden, 1)

    def forward(
        self,
        projected: torch.Tensor,
        embeddings: torch.Tensor,
        labels: CellLabels,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes projected [B, 64, H], the language model's embeddings [V, H], labels [B, 64].

        Returns the loss, and the share of things' cells whose kind and colour are right.
        """
        tokens = self.norm(projected.float())
        kinds = torch.from_numpy(labels.kinds).long()
        colors = torch.from_numpy(labels.colors).long()
        middles = torch.from_numpy(labels.middles).float()
        words = embeddings.detach().float()
        kind_logits = self._likeness(tokens, words[self._kind_ids], self.empty[:1])
        color_logits = self._likeness(tokens, words[self._color_ids], self.empty[1:])
        # What training never shows is not denied; see unseen.py.
        color_logits = color_logits.masked_fill(_UNSEEN[kinds], -math.inf)
        loss = _loss(kind_logits, kinds) + _loss(color_logits, colors)
        columns = torch.arange(CELLS).repeat(CELLS).expand(len(tokens), -1)
        rows = torch.arange(CELLS).repeat_interleave(CELLS).expand(len(tokens), -1)
        column_logits, row_logits = self.place(tokens).split(CELLS, -1)
        loss = loss + 0.2 * (_loss(column_logits, columns) + _loss(row_logits, rows))
        middle = nn.functional.binary_cross_entropy_with_logits(
            self.middle(tokens)[..., 0], middles, pos_weight=torch.tensor(4.0)
        )
        there = kinds > 0
        right = (kind_logits.argmax(-1) == kinds) & (color_logits.argmax(-1) == colors)
        return loss + middle, right[there].float().mean()

    def _likeness(
        self, tokens: torch.Tensor, words: torch.Tensor, empty: torch.Tensor
    ) -> torch.Tensor:
        targets = nn.functional.normalize(torch.cat([empty, words]), dim=-1)
        return nn.functional.normalize(tokens, dim=-1) @ targets.T * self.scale


def _loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
