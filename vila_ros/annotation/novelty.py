# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Novelty: frames whose vision embedding is far from all others of the fleet.

A frame's distance is the mean of those to its nearest neighbours, where neighbours are frames of
other times: the second before and after a strange thing looks as strange, and proves nothing. Above
a number of frames neighbours are sought in a sample of the fleet alone, so that memory stays flat
and time grows with the fleet, not with its square. The sample is drawn by the frames' own times,
not by chance, so that the same recordings give the same result in whatever order they are read.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from vila_ros.annotation.miners import FleetFrames, Unmoved
from vila_ros.annotation.types import Reason
from vila_ros.errors import InvalidRequest

NEIGHBOURS = 4
APART_NS = 10_000_000_000
"""Frames of one recording closer than this are no neighbours."""

MAX_REFERENCE = 20_000
"""Frames among which neighbours are sought."""

_BLOCK = 512
_LEAST_FRAMES = 8  # of so few none can be said to be unusual


class Novelty(Unmoved):
    """A Miner of the frames that are least like all others.

    fraction: how many of all frames count as novel at most, (0, 1].
    """

    def __init__(self, fraction: float) -> None:
        """Raises InvalidRequest for a fraction that is none."""
        if not 0 < fraction <= 1:
            raise InvalidRequest(f"the novel fraction is {fraction}; it must be in (0, 1]")
        self._fraction = fraction

    def compare(self, frames: FleetFrames) -> Iterable[tuple[int, Reason]]:
        """The frames farthest from all others, the farthest first."""
        count = len(frames.recorded_ns)
        if count < _LEAST_FRAMES or frames.embeddings.width == 0:
            return
        distances = neighbour_distances(frames)
        # Rounded, so that equal distances stay equal whatever the arithmetic's last bits are.
        distances = np.round(distances, 4)
        middle = float(np.median(distances))
        spread = float(np.median(np.abs(distances - middle)))
        order = np.lexsort((frames.recorded_ns, frames.recording, -distances))
        for rank, row in enumerate(order[: max(1, int(count * self._fraction))]):
            distance = float(distances[row])
            if distance <= middle + 2 * spread or distance <= 0:
                return  # the rest is as usual as most
            # From 0.5 for what is barely unusual up to 1.
            score = 1 - 0.5 / (1 + (distance - middle) / max(2 * spread, 1e-4))
            share = 100 * (count - rank) / count
            yield (
                int(row),
                Reason(
                    "novelty",
                    f"looks unlike the rest: distance {distance:.3f}, {middle:.3f} is usual",
                    round(score, 4),
                    {"distance": round(distance, 4), "median": round(middle, 4),
                     "percentile": round(share, 2), "frames": count},
                ),
            )  # fmt: skip


def neighbour_distances(
    frames: FleetFrames,
    neighbours: int = NEIGHBOURS,
    max_reference: int = MAX_REFERENCE,
) -> NDArray[np.float32]:
    """Each frame's mean distance to its nearest neighbours, [n]: 0 (the same) to 2 (opposite).

    The distance is 1 - cosine. A frame without any neighbour has distance 0: nothing is known.
    Memory: max_reference embeddings in float32 and a block of distances to them.
    """
    chosen = reference_rows(frames, max_reference)
    reference = frames.embeddings.take(chosen)
    of_recording, at = frames.recording[chosen], frames.recorded_ns[chosen]
    distances = np.zeros(len(frames.recorded_ns), np.float32)
    for start in range(0, len(distances), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(distances)))
        block = slice(start, start + len(rows))
        apart = 1 - frames.embeddings.take(rows) @ reference.T
        near = frames.recording[block, None] == of_recording[None]
        near &= np.abs(frames.recorded_ns[block, None] - at[None]) < APART_NS
        apart[near] = np.inf
        count = min(neighbours, apart.shape[1])
        nearest = np.partition(apart, count - 1, axis=1)[:, :count]
        known = np.isfinite(nearest)
        total = np.where(known, np.maximum(nearest, 0), 0).sum(axis=1)
        distances[block] = total / np.maximum(known.sum(axis=1), 1)
    return distances


def reference_rows(frames: FleetFrames, most: int) -> NDArray[np.int64]:
    """The rows of the sample, sorted: those of which the hash of their time is smallest."""
    count = len(frames.recorded_ns)
    if count <= most:
        return np.arange(count)
    # SplitMix64's finalizer (Steele et al., Fast Splittable Pseudorandom Number Generators, 2014).
    with np.errstate(over="ignore"):
        mixed = frames.recorded_ns.astype(np.uint64) + frames.camera.astype(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    order = np.lexsort((frames.recorded_ns, frames.recording, mixed))
    return np.sort(order[:most])
