# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run reads: encoded samples, in an order that the seed decides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vila_ros.datasets.reading.mixture import Mixture
from vila_ros.training.encoding import MediaSlot, SampleEncoder
from vila_ros.training.model import MediaInput, TrainingBatch
from vila_ros.training.packing import Group, collate, pack, single
from vila_ros.training.stages import Stage


class TrainingData(Protocol):
    """Groups by index: the items of one epoch."""

    def __len__(self) -> int:
        """Groups of an epoch."""

    def group(self, index: int) -> Group:
        """One group. Called from one thread at a time. Raises VilaError."""


class MediaSource(Protocol):
    """What media are computed from; MediaReader reads pixels, a cache may give features."""

    def __call__(self, slot: MediaSlot) -> MediaInput:
        """A slot's medium. Called from several threads. Raises InvalidImage."""


class MixtureData:
    """A mixture's samples, each a group of its own."""

    def __init__(self, mixture: Mixture, encode: SampleEncoder, seed: int):
        self._mixture = mixture
        self._encode = encode
        self._items = mixture.items(seed)

    def __len__(self) -> int:
        return len(self._items)

    def group(self, index: int) -> Group:
        """See TrainingData."""
        return single(self._encode(self._mixture.sample(self._items[index])))


@dataclass(frozen=True)
class SampleOrder:
    """In which order samples are read: every epoch all of them, shuffled anew by the seed.

    A step's samples depend on nothing but these numbers, so a run that was stopped goes on with
    the sample that it would have read.
    """

    samples: int
    batch: int
    epochs: float
    seed: int

    def of_step(self, step: int) -> NDArray[np.int64]:
        """The indices of one step."""
        end = min((step + 1) * self.batch, math.ceil(self.samples * self.epochs))
        places = np.arange(step * self.batch, max(end, step * self.batch + 1), dtype=np.int64)
        return np.array(
            [_shuffled(self.samples, self.seed, int(p) // self.samples)[p % self.samples]
             for p in places],
            np.int64,
        )  # fmt: skip


@dataclass(frozen=True)
class Packing:
    """How groups become batches. sequences: of one forward. pack: several groups a sequence."""

    sequences: int = 1
    pack: bool = True

    def batches(self, groups: Sequence[Group], length: int) -> list[list[list[Group]]]:
        """Groups -> batches of sequences of groups."""
        rows = pack(groups, length) if self.pack else [[group] for group in groups]
        return [rows[i : i + self.sequences] for i in range(0, len(rows), self.sequences)]


@dataclass(frozen=True, eq=False)
class StepData:
    """What one process computes in one step. samples: of it, examples that share rows counted
    one by one; learnt: labels."""

    step: int
    batches: tuple[TrainingBatch, ...]
    samples: int
    learnt: int
    rows: int


def read_steps(
    data: TrainingData,
    media: MediaSource,
    stage: Stage,
    order: SampleOrder,
    packing: Packing,
    steps: range,
    *,
    rank: int = 0,
    world: int = 1,
    threads: int = 2,
) -> Iterator[StepData]:
    """The steps of one process of `world`, each prepared while the one before is computed."""

    def prepare(step: int) -> StepData:
        groups = [data.group(int(index)) for index in order.of_step(step)[rank::world]]
        batches = []
        for sequences in packing.batches(groups, stage.length):
            rows = collate(sequences)
            batches.append(TrainingBatch(rows, tuple(readers.map(media, rows.slots))))
        return StepData(
            step,
            tuple(batches),
            sum(group.examples for group in groups),
            sum(group.learnt for group in groups),
            sum(map(len, groups)),
        )

    with ThreadPoolExecutor(max(1, threads)) as readers, ThreadPoolExecutor(1) as ahead:
        waiting: Future[StepData] | None = None
        for step in steps:
            ready = waiting or ahead.submit(prepare, step)
            waiting = ahead.submit(prepare, step + 1) if step + 1 < steps.stop else None
            yield ready.result()


@lru_cache(maxsize=2)
def _shuffled(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(samples)
