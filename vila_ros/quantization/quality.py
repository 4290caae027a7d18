# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What rounding costs: held-out samples through the float model and its int4 versions.

They go side by side through one block after the other, so that no version is held as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from vila_ros.quantization.samples import NOTHING, Encoded

FLOAT, AWQ, NEAREST = "float", "awq", "round-to-nearest"
VERSIONS = (FLOAT, AWQ, NEAREST)


@dataclass(frozen=True)
class Quality:
    """How a version does on the held-out samples.

    perplexity: over the tokens that count. token_agreement: share of these at which it picks what
    the float model picks. answer_agreement: share of samples in which it does so at all of them.
    logits_error: relative root mean square against the float model's.
    """

    perplexity: float
    token_agreement: float
    answer_agreement: float
    logits_error: float


@torch.no_grad()
def judge(
    language_model: Any, states: Mapping[str, Sequence[torch.Tensor]], samples: Sequence[Encoded]
) -> dict[str, Quality]:
    """states: version -> hidden states [1, n, hidden] after the last block, one a sample."""
    sums = {version: [0.0, 0.0, 0.0, 0.0] for version in states}
    tokens, power = 0, 0.0
    for number, sample in enumerate(samples):
        # The row before a token predicts it.
        counted = (sample.labels[1:] != NOTHING).nonzero().flatten()
        if not len(counted):
            continue
        labels = sample.labels[1:][counted]
        logits = {
            version: _logits(language_model, states[version][number][0, counted])
            for version in states
        }
        picks = logits[FLOAT].argmax(dim=-1)
        tokens += len(counted)
        power += float(logits[FLOAT].pow(2).sum())
        for version, mine in logits.items():
            same = mine.argmax(dim=-1) == picks
            sums[version][0] += float(F.cross_entropy(mine, labels, reduction="sum"))
            sums[version][1] += int(same.sum())
            sums[version][2] += int(same.all())
            sums[version][3] += float((mine - logits[FLOAT]).pow(2).sum())
    return {
        version: Quality(
            perplexity=float(torch.tensor(loss / max(tokens, 1)).exp()),
            token_agreement=agreed / max(tokens, 1),
            answer_agreement=whole / max(len(samples), 1),
            logits_error=(error / max(power, 1e-12)) ** 0.5,
        )
        for version, (loss, agreed, whole, error) in sums.items()
    }


def _logits(language_model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Float32 logits of hidden states [n, hidden]."""
    norm, head = language_model.model.norm, language_model.lm_head
    kind = norm.weight.dtype
    return head(norm(hidden.float()).to(kind)).float()
