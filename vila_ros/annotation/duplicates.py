# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Of frames that show the same, one: the most interesting stays and keeps the others' reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vila_ros.annotation.perceptual_hash import hamming
from vila_ros.annotation.types import Reason
from vila_ros.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Likeness:
    """When two frames count as the same.

    apart: frames of one camera within so many seconds are one moment. bits: of 64 in which the
    perceptual hashes of frames that look the same may differ. distance: 1 - cosine of their
    embeddings at most; both must hold, and bits alone where there are no embeddings.
    """

    apart: float = 2.0
    bits: int = 4
    distance: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.apart < 1e6 and 0 <= self.bits <= 64 and 0 <= self.distance <= 2):
            raise InvalidRequest(
                f"near-duplicates are {self.apart} s, {self.bits} bits and distance "
                f"{self.distance} apart; these must be at least 0, 0 to 64, and 0 to 2"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A frame with its reasons, on its way to become a candidate.

    recording: index of the recording. row: of the frame among all. embedding: [C],
    empty without a vision model. also: near-duplicates that were left out for it.
    """

    recording: int
    row: int
    topic: str
    recorded_ns: int
    hash: int
    embedding: np.ndarray
    reasons: tuple[Reason, ...]
    also: int = 0

    @property
    def score(self) -> float:
        """0 to 1, see joint_score."""
        return joint_score(self.reasons)


def joint_score(reasons: Iterable[Reason]) -> float:
    """0 to 1: of several reasons each adds its part of what is left to 1."""
    rest = 1.0
    for reason in reasons:
        rest *= 1 - reason.score
    return round(1 - rest, 6)


def without_duplicates(found: Sequence[Found], likeness: Likeness, most: int) -> list[Found]:
    """At most `most` frames, the best first, none of them like one before it.

    Frames of one camera within likeness.apart are one moment, of which the best stays, with all
    reasons; of frames that look the same at other times one is enough.
    """
    kept: list[Found] = []
    by_camera: dict[tuple[int, str], list[int]] = {}
    hashes = np.empty(most, np.uint64)
    for each in sorted(found, key=lambda f: (-f.score, f.recording, f.recorded_ns, f.topic)):
        moment = _of_one_moment(each, kept, by_camera, likeness)
        if moment is not None:
            kept[moment] = _joined(kept[moment], each)
            continue
        alike = _look_alike(each, kept, hashes[: len(kept)], likeness)
        if alike is not None:
            kept[alike] = replace(kept[alike], also=kept[alike].also + 1)
        elif len(kept) < most:
            by_camera.setdefault((each.recording, each.topic), []).append(len(kept))
            hashes[len(kept)] = each.hash
            kept.append(each)
    return sorted(kept, key=lambda f: (-f.score, f.recording, f.recorded_ns, f.topic))


def _of_one_moment(
    each: Found,
    kept: list[Found],
    by_camera: dict[tuple[int, str], list[int]],
    likeness: Likeness,
) -> int | None:
    near = [
        place
        for place in by_camera.get((each.recording, each.topic), ())
        if abs(kept[place].recorded_ns - each.recorded_ns) < likeness.apart * 1e9
    ]
    return min(
        near, key=lambda place: abs(kept[place].recorded_ns - each.recorded_ns), default=None
    )


def _look_alike(
    each: Found, kept: list[Found], hashes: np.ndarray, likeness: Likeness
) -> int | None:
    if not len(hashes):
        return None
    for place in np.flatnonzero(hamming(each.hash, hashes) <= likeness.bits):
        other = kept[int(place)]
        if not each.embedding.size or not other.embedding.size:
            return int(place)
        cosine = float(each.embedding.astype(np.float32) @ other.embedding.astype(np.float32))
        if 1 - cosine <= likeness.distance:
            return int(place)
    return None


def _joined(kept: Found, other: Found) -> Found:
    """The kept frame with the other's reasons of another kind, told with their time."""
    known = {(reason.miner, reason.details.get("question")) for reason in kept.reasons}
    seconds = (other.recorded_ns - kept.recorded_ns) / 1e9
    side = "before" if seconds < 0 else "after"
    new = tuple(
        replace(
            reason,
            text=f"{reason.text} ({abs(seconds):.1f} s {side})" if seconds else reason.text,
            details={**reason.details, "seconds": round(seconds, 3)},
        )
        for reason in other.reasons
        if (reason.miner, reason.details.get("question")) not in known
    )
    return replace(kept, reasons=kept.reasons + new, also=kept.also + 1)
