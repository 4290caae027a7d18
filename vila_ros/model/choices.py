# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How probable each of a list of answers is, exactly, from the prompt's own forward pass.

The probability of a choice is that of the model's answer beginning with the choice's tokens; where
one choice's tokens begin another's ("no", "no idea"), that of the answer ending after them. These
events exclude each other, so dividing by their sum gives the probabilities given that one of the
choices is the answer. The first tokens' probabilities come from the prompt's logits: single-token
choices such as yes and no cost nothing further, longer ones a forward over their tokens, side by
side behind the shared prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vila_ros.model.decoder import Decoder


def needs_end(choices: Sequence[tuple[int, ...]]) -> list[bool]:
    """Which choices (token ids) begin another one, so that their end must be scored too."""
    return [
        any(other[: len(choice)] == choice for j, other in enumerate(choices) if j != i)
        for i, choice in enumerate(choices)
    ]


def choice_log_probabilities(
    decoder: Decoder,
    slot: int,
    prompt_rows: int,
    prompt_logits: torch.Tensor,
    choices: Sequence[tuple[int, ...]],
    stop_token_ids: Sequence[int],
) -> torch.Tensor:
    """Log probabilities of the choices (non-empty token ids) behind a prompt, not normalised.

    prompt_rows: rows of the prompt in `slot`. prompt_logits: float32 [vocab] after its last row.
    Returns float64 [len(choices)] on the CPU.
    """
    first = prompt_logits.double().log_softmax(-1)
    totals = [first[choice[0]] for choice in choices]
    ends = needs_end(choices)
    # What a choice's tokens are followed by matters up to its last but one, or its end.
    branches = {
        i: choice if end else choice[:-1]
        for i, (choice, end) in enumerate(zip(choices, ends, strict=True))
        if end or len(choice) > 1
    }
    stops = torch.tensor(list(stop_token_ids), device=prompt_logits.device)
    for group in _groups(branches, decoder.cache.context_length - prompt_rows):
        for i, logits in zip(
            group,
            decoder.branch(slot, prompt_rows, [branches[i] for i in group]),
            strict=True,
        ):
            following = logits.double().log_softmax(-1)
            for depth, token in enumerate(choices[i][1:]):
                totals[i] = totals[i] + following[depth, token]
            if ends[i]:
                totals[i] = totals[i] + following[-1, stops].logsumexp(-1)
    return torch.stack(totals).cpu()


def _groups(branches: dict[int, tuple[int, ...]], room: int) -> list[list[int]]:
    """Branches in order, as many together as `room` rows hold."""
    groups: list[list[int]] = []
    free = 0
    for i, branch in branches.items():
        if len(branch) > free:
            groups.append([])
            free = room
        groups[-1].append(i)
        free -= len(branch)
    return groups
