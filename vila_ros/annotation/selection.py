# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From what was scanned of all recordings to the candidates: compared, without near-duplicates."""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vila_ros.annotation.duplicates import Found, joint_score, without_duplicates
from vila_ros.annotation.miners import FleetFrames, Miner
from vila_ros.annotation.scanning import ScannedFrame
from vila_ros.annotation.settings import AnnotationSettings
from vila_ros.annotation.types import Candidate, InvalidAnnotationFolder, Reason

_POOL = 20  # frames for each candidate among which near-duplicates are sought


@dataclass(frozen=True, slots=True)
class Scanned:
    """What the scan of a slice left: which recording it is of, and where its files are."""

    recording: int
    folder: Path


def select(
    scanned: Sequence[Scanned],
    recordings: Sequence[Path],
    settings: AnnotationSettings,
    miners: Sequence[Miner],
) -> list[Candidate]:
    """The candidates, the best first; their frames' files are not extracted yet.

    Memory: 24 bytes a sampled frame, and the best frames, of which there are at most so many more
    than candidates. Raises InvalidAnnotationFolder if a scan's files are damaged.
    """
    frames = _fleet_frames(scanned)
    novel: dict[int, list[Reason]] = {}
    for miner in miners:
        for row, reason in miner.compare(frames):
            novel.setdefault(row, []).append(reason)
    found, kept = _best_with_reasons(scanned, frames, novel, _POOL * settings.most)
    chosen = without_duplicates(found, settings.likeness, settings.most)
    names = recording_names(recordings)
    candidates: dict[str, Candidate] = {}
    for each in chosen:
        frame = kept[each.row]
        name = f"{names[each.recording]}-{frame.camera}-{frame.stamp_ns}"
        # A stamp that comes twice in a recording names one candidate, the better one.
        candidates.setdefault(
            name,
            Candidate(
                id=name,
                recording=str(recordings[each.recording]),
                camera=frame.camera,
                topic=frame.topic,
                stamp_ns=frame.stamp_ns,
                recorded_ns=frame.recorded_ns,
                frame_id=frame.frame_id,
                width=frame.width,
                height=frame.height,
                image=f"images/{name}.jpg",
                score=round(each.score, 4),
                reasons=tuple(sorted(each.reasons, key=lambda r: (-r.score, r.miner, r.text))),
                also=each.also,
            ),
        )
    return list(candidates.values())


def recording_names(recordings: Sequence[Path]) -> list[str]:
    """Short, different names of recordings, of characters that an id may have."""
    names: list[str] = []
    for path in recordings:
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", path.name.split(".")[0]).strip("_")[:60]
        plain = plain or "recording"
        taken = sum(name == plain or name.startswith(f"{plain}.") for name in names)
        names.append(f"{plain}.{taken + 1}" if taken else plain)
    return names


def _fleet_frames(scanned: Sequence[Scanned]) -> FleetFrames:
    """What is compared of all frames, slice after slice."""
    times = [_array(part, "times") for part in scanned]
    cameras = [_array(part, "cameras") for part in scanned]
    hashes = [_array(part, "hashes") for part in scanned]
    counts = [len(part) for part in times]
    return FleetFrames(
        recording=np.repeat(np.array([part.recording for part in scanned], np.int32), counts),
        camera=np.concatenate([np.empty(0, np.int32), *cameras]),
        recorded_ns=np.concatenate([np.empty(0, np.int64), *times]),
        hash=np.concatenate([np.empty(0, np.uint64), *hashes]),
        embeddings=StoredEmbeddings(scanned, counts),
    )


class StoredEmbeddings:
    """The Embeddings of scans, read from their files when they are needed; none stays open."""

    def __init__(self, scanned: Sequence[Scanned], counts: Sequence[int]) -> None:
        self._scanned = scanned
        self._starts = np.cumsum([0, *counts])
        filled = (part for part, count in zip(scanned, counts, strict=True) if count)
        first = next(filled, None)
        self.width = _array(first, "embeddings").shape[1] if first is not None else 0

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """See Embeddings."""
        taken = np.empty((len(rows), self.width), np.float32)
        cuts = np.searchsorted(rows, self._starts)
        for part, start, first, last in zip(
            self._scanned, self._starts, cuts, cuts[1:], strict=False
        ):
            if last > first:
                taken[first:last] = _array(part, "embeddings")[rows[first:last] - start]
        # They were rounded to 16 bits.
        return taken / np.maximum(np.linalg.norm(taken, axis=1, keepdims=True), 1e-6)


def _best_with_reasons(
    scanned: Sequence[Scanned],
    frames: FleetFrames,
    novel: Mapping[int, Iterable[Reason]],
    most: int,
) -> tuple[list[Found], dict[int, ScannedFrame]]:
    """The frames that have a reason, at most so many; of all others nothing stays in memory."""
    # A heap of (worst first, …); the row is unique, so that comparison never reaches the rest.
    heap: list[tuple[float, int, Scanned, ScannedFrame, tuple[Reason, ...]]] = []
    row = -1
    for part in scanned:
        for frame in _scanned_frames(part):
            row += 1
            reasons = (*frame.reasons, *novel.get(row, ()))
            if not reasons:
                continue
            entry = (joint_score(reasons), -row, part, frame, reasons)
            if len(heap) < most:
                heapq.heappush(heap, entry)
            elif entry[:2] > heap[0][:2]:
                heapq.heapreplace(heap, entry)
    heap.sort(key=lambda entry: -entry[1])
    rows = np.array([-entry[1] for entry in heap], np.int64)
    embeddings = frames.embeddings.take(rows).astype(np.float16)
    found = [
        Found(
            recording=part.recording,
            row=-negative,
            topic=frame.topic,
            recorded_ns=frame.recorded_ns,
            hash=int(frames.hash[-negative]),
            embedding=embedding,
            reasons=reasons,
        )
        for (_, negative, part, frame, reasons), embedding in zip(heap, embeddings, strict=True)
    ]
    return found, {-negative: frame for _, negative, _, frame, _ in heap}


def _array(part: Scanned, name: str) -> np.ndarray:
    path = part.folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidAnnotationFolder(f"{path} cannot be read: {error}.") from error


def _scanned_frames(part: Scanned) -> Iterator[ScannedFrame]:
    path = part.folder / "frames.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield ScannedFrame.from_json(json.loads(line))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidAnnotationFolder(f"{path} cannot be read: {error}.") from error
