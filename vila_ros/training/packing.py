# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several examples in one sequence, none of which sees another.

Short answers on images waste a batch that is padded to its longest row. Here examples stand one
behind the other; each sees its own rows alone and counts its positions from 0, so that what is
computed is what would be computed for it alone. Several questions on the same images share the
rows that they begin with (tree attention, as in SpecInfer, arXiv:2305.09781): images go through
the model once, and each question sees them and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vila_ros.errors import InvalidRequest
from vila_ros.model.interleave import IGNORE_LABEL
from vila_ros.training.encoding import EncodedExample, MediaSlot

PADDING = -1
"""The example to which rows of padding belong."""


@dataclass(frozen=True, eq=False)
class Group:
    """Rows that belong together: one example, or several behind rows that they share.

    ids, labels as in EncodedExample; positions: of each row in its own example; branch: 0 for
    shared rows, and rows of an example alone; 1, 2, … for those of the examples behind. All int64
    [n]. slots: the media, in order. examples: how many samples are in it.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    branch: NDArray[np.int64]
    slots: tuple[MediaSlot, ...]
    examples: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """Rows with a label."""
        return int((self.labels != IGNORE_LABEL).sum())


@dataclass(frozen=True, eq=False)
class PackedRows:
    """A batch of sequences, padded at their ends.

    ids, labels, positions, example, branch: int64 [B, L]. Row i of a sequence attends row j <= i of
    the same example whose branch is 0 or its own. slots: the media of all sequences in order;
    their `start` counts from the start of their own sequence.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor
    example: torch.Tensor
    branch: torch.Tensor
    slots: tuple[MediaSlot, ...]

    @property
    def packed(self) -> bool:
        """Whether any sequence holds more than one example."""
        return bool((self.example > 0).any() or (self.branch > 0).any())


def single(example: EncodedExample) -> Group:
    """A group of one example."""
    return Group(
        ids=example.ids,
        labels=_from_second(example.labels),
        positions=np.arange(len(example), dtype=np.int64),
        branch=np.zeros(len(example), np.int64),
        slots=example.slots,
    )


def share_prefix(examples: Sequence[EncodedExample]) -> Group:
    """Examples behind the rows that all of them begin with.

    Rows are alike where ids are, and media where their sources are the same objects or name the
    same key or file. Nothing learnt is shared: at least one row before the first label stays with
    each example, since the last row of the prefix would have to predict several labels.
    """
    if not examples:
        raise InvalidRequest("a group needs at least one example")
    if len(examples) == 1:
        return single(examples[0])
    common = _common_rows(examples)
    first = examples[0]
    slots = [slot for slot in first.slots if slot.start < common]
    ids, labels = [first.ids[:common]], [first.labels[:common]]
    positions = [np.arange(common, dtype=np.int64)]
    branch = [np.zeros(common, np.int64)]
    end = common
    for number, example in enumerate(examples, start=1):
        rest = len(example) - common
        ids.append(example.ids[common:])
        labels.append(_from_second(example.labels[common:]))
        positions.append(np.arange(common, common + rest, dtype=np.int64))
        branch.append(np.full(rest, number, np.int64))
        slots += [
            replace(slot, start=slot.start - common + end)
            for slot in example.slots
            if slot.start >= common
        ]
        end += rest
    return Group(
        np.concatenate(ids),
        np.concatenate(labels),
        np.concatenate(positions),
        np.concatenate(branch),
        tuple(slots),
        len(examples),
    )


def pack(groups: Sequence[Group], length: int) -> list[list[Group]]:
    """Groups into sequences of at most `length` rows: each into the first that has room.

    The order of groups decides alone, so equal input is packed equally. Raises InvalidRequest for
    a group that is longer.
    """
    sequences: list[list[Group]] = []
    room: list[int] = []
    for group in groups:
        if len(group) > length:
            raise InvalidRequest(
                f"{len(group)} rows do not fit into a sequence of {length}; raise the length, or "
                "share a prefix between fewer questions"
            )
        place = next((i for i, free in enumerate(room) if free >= len(group)), len(room))
        if place == len(room):
            sequences.append([])
            room.append(length)
        sequences[place].append(group)
        room[place] -= len(group)
    return sequences


def collate(sequences: Sequence[Sequence[Group]], length: int | None = None) -> PackedRows:
    """Sequences as one batch, padded to the longest, or to `length` for constant shapes."""
    sizes = [sum(map(len, groups)) for groups in sequences]
    longest = max(sizes) if length is None else length
    if not sizes or min(sizes) == 0 or max(sizes) > longest:
        raise InvalidRequest(f"sequences of {sizes} rows do not make a batch of {longest} rows")
    shape = (len(sequences), longest)
    ids = np.zeros(shape, np.int64)
    labels = np.full(shape, IGNORE_LABEL, np.int64)
    positions, branch = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    example = np.full(shape, PADDING, np.int64)
    slots: list[MediaSlot] = []
    for row, groups in enumerate(sequences):
        at = 0
        for number, group in enumerate(groups):
            place = slice(at, at + len(group))
            ids[row, place], labels[row, place] = group.ids, group.labels
            positions[row, place], branch[row, place] = group.positions, group.branch
            example[row, place] = number
            slots += [replace(slot, start=slot.start + at) for slot in group.slots]
            at += len(group)
    return PackedRows(
        torch.from_numpy(ids),
        torch.from_numpy(labels),
        torch.from_numpy(positions),
        torch.from_numpy(example),
        torch.from_numpy(branch),
        tuple(slots),
    )


def attention_bounds(example: torch.Tensor, branch: torch.Tensor) -> torch.Tensor:
    """Which row sees which: [B, L] each -> bool [B, 1, L, L], True where it does.

    Rows of padding see the padding before them and themselves, so that no softmax is empty.
    """
    length = example.shape[1]
    same = example[:, :, None] == example[:, None, :]
    shared = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    causal = torch.ones(length, length, dtype=torch.bool, device=example.device).tril()
    return (same & shared & causal)[:, None]


def _from_second(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels without the first row's: the row before it belongs to another example."""
    labels = labels.copy()
    labels[:1] = IGNORE_LABEL
    return labels


def _common_rows(examples: Sequence[EncodedExample]) -> int:
    """How many first rows all examples share."""
    first = examples[0]
    end = min(map(len, examples))
    for other in examples[1:]:
        differs = (first.ids[:end] != other.ids[:end]).nonzero()[0]
        end = int(differs[0]) if len(differs) else end
        for mine, theirs in zip(first.slots, other.slots, strict=False):
            if mine.start >= end:
                break
            if _identity(mine) != _identity(theirs):
                end = mine.start
    for example in examples:
        learnt = (example.labels[: end + 1] != IGNORE_LABEL).nonzero()[0]
        if len(learnt):
            end = min(end, max(0, int(learnt[0]) - 1))
    # A medium is shared whole or not at all.
    for slot in reversed(first.slots):
        if slot.start < end < slot.start + slot.length:
            end = slot.start
    return end


def _identity(slot: MediaSlot) -> tuple[object, ...]:
    """Equal for media with equal embeddings in equal rows."""
    source = slot.source
    key = getattr(source, "key", "") or getattr(source, "path", None) or id(source)
    clip = getattr(source, "clip", None)
    if clip is not None:
        key = (getattr(clip, "path", None) or id(clip), getattr(source, "index", 0))
    return (type(source), key, getattr(source, "count", 0), slot.start, slot.length, slot.tiled)
