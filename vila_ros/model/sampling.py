# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Next tokens from logits: greedy or sampled, seeded per request, under a constraint or free."""

from __future__ import annotations

from typing import Protocol

import torch

from vila_ros.errors import EngineFailed, InvalidOutput


class TokenConstraint(Protocol):
    """What an answer may look like, token by token; one instance belongs to one answer."""

    def apply(self, logits: torch.Tensor) -> None:
        """Set the logits [vocab] of tokens that may not come next to -inf, in place."""

    def accept(self, token: int) -> None:
        """Move on by the token that was picked."""

    def complete(self) -> bool:
        """Whether nothing but the end of the answer may follow."""


class Sampler:
    """Picks the tokens of one answer.

    The random numbers are the request's own, one a token, so that neither batch mates nor the
    device change what a seed gives for equal logits.

    temperature: 0 is greedy, where equal logits give the lowest token id. top_p: (0, 1], the least
    set of most probable tokens whose probabilities reach it ("nucleus", Holtzman et al. 2020,
    arXiv:1904.09751). seed: any integer.
    """

    def __init__(self, temperature: float = 0.0, top_p: float = 1.0, seed: int = 0) -> None:
        self.temperature = temperature
        self.top_p = top_p
        self._random = torch.Generator().manual_seed(seed & 0xFFFF_FFFF_FFFF_FFFF)

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0.0

    def pick(self, logits: torch.Tensor) -> int:
        """The next token of logits [vocab], any float dtype and device."""
        if self.greedy:
            return int(logits.argmax())
        return self.pick_weighted(torch.softmax(logits.float().cpu() / self.temperature, dim=-1))

    def pick_weighted(self, probabilities: torch.Tensor) -> int:
        """An index drawn from probabilities [n], float32 on the CPU, within top_p."""
        ordered, indices = probabilities.sort(descending=True, stable=True)
        cumulative = ordered.double().cumsum(0)
        # An index stays while the more probable ones before it do not reach top_p.
        kept = int((cumulative - ordered < self.top_p).sum()) if self.top_p < 1.0 else len(ordered)
        drawn = torch.rand((), generator=self._random, dtype=torch.float64) * cumulative[kept - 1]
        index = int(torch.searchsorted(cumulative[:kept], drawn, right=True))
        return int(indices[min(index, kept - 1)])


def check_logits(values: torch.Tensor) -> None:
    """Raise EngineFailed unless the picked logits are numbers.

    values: the logits that were picked, [batch].
    """
    if torch.isnan(values).any():
        raise EngineFailed(
            "the model computed values that are not numbers: the weights are damaged, or overflow "
            "in float16; try dtype bfloat16 or float32"
        )
    if torch.isinf(values).any():
        raise InvalidOutput(
            "no token of the vocabulary can continue the answer under its schema; use a simpler "
            "schema"
        )
