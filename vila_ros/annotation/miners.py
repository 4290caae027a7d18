# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What finds moments: the protocol that every kind of miner follows, each in a module of its own.

A recording is first listened to (its other topics name moments), then looked at (its sampled
frames, the named moments' among them); at last the frames of all recordings are compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vila_ros.annotation.cameras import Sight
from vila_ros.annotation.types import Reason
from vila_ros.bags.types import Recording


@dataclass(frozen=True, slots=True)
class Moment:
    """A time that is worth a look, nanoseconds as recorded."""

    recorded_ns: int
    reason: Reason


class Embeddings(Protocol):
    """Rows of float32 [C], of length 1 each, which need not be in memory. width: C, 0 for none."""

    @property
    def width(self) -> int:
        """C."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows of sorted indices, [n, C]."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetFrames:
    """What is kept of every sampled frame of all recordings; row i of each is one frame.

    recording: int32 [n], which recording. camera: int32 [n], which of its cameras. recorded_ns:
    int64 [n]. hash: uint64 [n].
    """

    recording: NDArray[np.int32]
    camera: NDArray[np.int32]
    recorded_ns: NDArray[np.int64]
    hash: NDArray[np.uint64]
    embeddings: Embeddings


class Miner(Protocol):
    """Finds moments of one kind. The same input gives the same findings."""

    def listen(self, recording: Recording, start_ns: int, end_ns: int) -> Iterable[Moment]:
        """Moments by what was recorded beside the cameras, start_ns <= recorded_ns <= end_ns."""

    def look(self, sight: Sight) -> Iterable[Reason]:
        """Why this frame is worth a look, if it is. Frames come in time order."""

    def compare(self, frames: FleetFrames) -> Iterable[tuple[int, Reason]]:
        """Rows of frames that stand out among all, and why."""


class Unmoved:
    """A Miner that finds nothing; kinds of miners fill in what they do."""

    def listen(self, recording: Recording, start_ns: int, end_ns: int) -> Iterable[Moment]:
        """See Miner."""
        return ()

    def look(self, sight: Sight) -> Iterable[Reason]:
        """See Miner."""
        return ()

    def compare(self, frames: FleetFrames) -> Iterable[tuple[int, Reason]]:
        """See Miner."""
        return ()
