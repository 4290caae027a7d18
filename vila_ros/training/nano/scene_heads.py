# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the language model is to know of a scene half way up, at the pictures' own tokens.

A question's answer is one word, and a motion or a number is worked out from many tokens: from the
answers alone it took far more pictures than a CPU reads to learn that. So every token of a thing
is asked, in the middle of the language model, how many things of its kind came before (in reading
order), and in later pictures of a clip what the thing did since the first one. A layer above, each
picture's last token, which has read all others, is asked for every kind how many of it there are
and what became of it: what has left has no token of its own to tell it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vila_ros.simulation.scene import PLACES, FrameTruth
from vila_ros.simulation.shapes import KINDS
from vila_ros.simulation.truth import drives, hidden, motion, shown, unclear
from vila_ros.simulation.wording import MOTIONS

MIDDLE, UPPER = 3, 4  # layers below what things' tokens, and what pictures' last ones are asked
MOST_RANKS = 4
NEVER_THERE = len(MOTIONS)
_RANK_WEIGHTS = (1.0, 3.0, 5.0, 8.0)  # first ones are far more frequent
_COUNT_WEIGHTS = (0.3, 1.0, 2.0, 3.0, 4.0)  # most kinds are not there, most others once
_FATE_WEIGHTS = (*[1.0] * len(MOTIONS), 0.2)
UNSAID = -1
_MOTIONS = {name: index for index, name in enumerate(MOTIONS)}


@dataclass(frozen=True, eq=False)
class SceneLabels:
    """Of pictures P, each of C cells; UNSAID (nan in shifts) where there is nothing to say.

    ranks [P, C]: 0 for the first thing of its kind. motions [P, C]: since the first picture, in
    wording.MOTIONS' order. shifts [P, C, 2]: columns moved, and the logarithm of the distances'
    ratio, since the first picture. places [P], moving [P]: of the camera. counts [P, K]: of each
    kind, as in shapes.KINDS. fates [P, K]: what the only thing of a kind did since the first
    picture, NEVER_THERE where the kind shows neither then nor now.
    """

    ranks: NDArray[np.int64]
    motions: NDArray[np.int64]
    shifts: NDArray[np.float32]
    places: NDArray[np.int64]
    moving: NDArray[np.int64]
    counts: NDArray[np.int64]
    fates: NDArray[np.int64]


def label_scene(
    frames: Sequence[FrameTruth], owners: NDArray[np.uint8], ranks: NDArray[np.uint8]
) -> SceneLabels:
    """Frames in time order; owners [P, C]: a thing's number and 1, or 0; ranks [P, C] from 1."""
    motions = np.full(owners.shape, UNSAID, np.int64)
    shifts = np.full((*owners.shape, 2), np.nan, np.float32)
    first = {thing.number: thing for thing in frames[0].things}
    for index in range(1, len(frames)):
        for thing in frames[index].things:
            cells = owners[index] == thing.number + 1
            if not cells.any():
                continue
            did = motion(frames[: index + 1], thing.number)
            if did is not None:
                motions[index, cells] = _MOTIONS[did]
            before = first[thing.number]
            if not hidden(before):
                ratio = math.log(thing.distance / before.distance)
                shifts[index, cells] = thing.column - before.column, ratio
    moving = [UNSAID] + [int(drives(frames[: index + 1])) for index in range(1, len(frames))]
    return SceneLabels(
        ranks.astype(np.int64) - 1,
        motions,
        shifts,
        np.array([PLACES.index(frame.place) for frame in frames]),
        np.array(moving),
        np.array([_counts(frame) for frame in frames]),
        np.array([_fates(frames[: index + 1]) for index in range(len(frames))]),
    )


def _counts(frame: FrameTruth) -> list[int]:
    """How many of each kind show; UNSAID where one shows half."""
    doubtful = {thing.kind for thing in unclear(frame)}
    there = [thing.kind for thing in shown(frame)]
    return [UNSAID if kind in doubtful else min(there.count(kind), MOST_RANKS) for kind in KINDS]


def _fates(frames: Sequence[FrameTruth]) -> list[int]:
    """What became of each kind up to the last of the frames."""
    fates = []
    for kind in KINDS:
        numbers = {thing.number for thing in frames[-1].things if thing.kind == kind}
        ends = [thing for frame in (frames[0], frames[-1]) for thing in frame.things]
        if len(frames) < 2 or len(numbers) > 1:
            fates.append(UNSAID)
        elif all(hidden(thing) for thing in ends if thing.kind == kind):
            fates.append(NEVER_THERE)
        else:
            did = motion(frames, numbers.pop())
            fates.append(UNSAID if did is None else _MOTIONS[did])
    return fates


def joined(labels: Sequence[SceneLabels]) -> SceneLabels:
    """Several sequences' labels as one batch's."""
    names = [field.name for field in fields(SceneLabels)]
    return SceneLabels(
        *(np.concatenate([getattr(each, name) for each in labels]) for name in names)
    )


class SceneHeads(nn.Module):
    """Reads the labels off the pictures' rows; thrown away after training."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.rank = nn.Linear(hidden, MOST_RANKS)
        self.motion = nn.Linear(hidden, len(MOTIONS))
        self.shift = nn.Linear(hidden, 2)
        self.place = nn.Linear(hidden, len(PLACES))
        self.moving = nn.Linear(hidden, 2)
        self.last_norm = nn.LayerNorm(hidden)
        self.count = nn.Linear(hidden, len(KINDS) * (1 + MOST_RANKS))
        self.fate = nn.Linear(hidden, len(KINDS) * (1 + NEVER_THERE))

    def forward(self, rows: torch.Tensor, last: torch.Tensor, labels: SceneLabels) -> torch.Tensor:
        """The loss of rows [P, C, H] behind MIDDLE layers, and of each picture's last one,
        [P, H], behind UPPER layers.
        """
        rows = self.norm(rows.float())
        whole = rows.mean(1)
        loss = _loss(self.rank(rows), labels.ranks, torch.tensor(_RANK_WEIGHTS))
        loss = loss + _loss(self.motion(rows), labels.motions)
        loss = loss + 0.3 * _loss(self.place(whole), labels.places)
        loss = loss + 0.3 * _loss(self.moving(whole), labels.moving)
        last = self.last_norm(last.float())
        counts = self.count(last).unflatten(-1, (len(KINDS), -1))
        loss = loss + 0.5 * _loss(counts, labels.counts, torch.tensor(_COUNT_WEIGHTS))
        fates = self.fate(last).unflatten(-1, (len(KINDS), -1))
        loss = loss + _loss(fates, labels.fates, torch.tensor(_FATE_WEIGHTS))
        shifts = torch.from_numpy(labels.shifts)
        known = ~shifts.isnan().any(-1)
        if known.any():
            given = self.shift(rows)[known]
            loss = loss + 3 * nn.functional.smooth_l1_loss(given, shifts[known], beta=0.2)
        return loss


def _loss(
    logits: torch.Tensor, wanted: NDArray[np.int64], weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross entropy over what is not ignored; 0 where all is."""
    target = torch.from_numpy(wanted).flatten()
    if not (target != UNSAID).any():
        return logits.sum() * 0.0
    return nn.functional.cross_entropy(logits.flatten(0, -2), target, weights, ignore_index=UNSAID)
