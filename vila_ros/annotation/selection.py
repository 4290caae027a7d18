# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From what was scanned of all recordings to the candidates: compared, without near-duplicates."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vila_ros.annotation.duplicates import Found, without_duplicates
from vila_ros.annotation.miners import FleetFrames, Miner
from vila_ros.annotation.scanning import ScannedFrame
from vila_ros.annotation.settings import AnnotationSettings
from vila_ros.annotation.types import Candidate, InvalidAnnotationFolder, Reason


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

    Memory: 24 bytes and an embedding (mapped from disk) a sampled frame, and the frames with a
    reason. Raises InvalidAnnotationFolder if a scan's files are damaged.
    """
    frames, starts = _fleet_frames(scanned)
    novel: dict[int, list[Reason]] = {}
    for miner in miners:
        for row, reason in miner.compare(frames):
            novel.setdefault(row, []).append(reason)
    found, kept = _with_reasons(scanned, frames, starts, novel)
    chosen = without_duplicates(found, settings.likeness, settings.most)
    names = recording_names(recordings)
    candidates: dict[str, Candidate] = {}
    for each in chosen:
        frame = kept[each.recording, each.row]
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


def _fleet_frames(scanned: Sequence[Scanned]) -> tuple[FleetFrames, list[int]]:
    """All frames' arrays, and the row at which each slice begins."""
    times = [_array(part, "times") for part in scanned]
    hashes = [_array(part, "hashes") for part in scanned]
    embeddings = [_array(part, "embeddings") for part in scanned]
    counts = [len(part) for part in times]
    width = max((part.shape[1] for part in embeddings), default=0)
    starts = [0, *np.cumsum(counts).tolist()]
    joined = np.zeros((starts[-1], width), np.float16)
    for start, part in zip(starts, embeddings, strict=False):
        if len(part):
            joined[start : start + len(part)] = part
    of = np.repeat(np.array([part.recording for part in scanned], np.int32), counts)
    camera = np.zeros(starts[-1], np.int32)
    nothing = np.empty(0, np.int64)
    return (
        FleetFrames(
            recording=of,
            camera=camera,
            recorded_ns=np.concatenate(times) if times else nothing,
            embedding=joined,
            hash=np.concatenate(hashes) if hashes else nothing.astype(np.uint64),
        ),
        starts,
    )


def _with_reasons(
    scanned: Sequence[Scanned],
    frames: FleetFrames,
    starts: Sequence[int],
    novel: Mapping[int, Iterable[Reason]],
) -> tuple[list[Found], dict[tuple[int, int], ScannedFrame]]:
    """The frames that have a reason; of all others nothing stays in memory."""
    found: list[Found] = []
    kept: dict[tuple[int, int], ScannedFrame] = {}
    for part, start in zip(scanned, starts, strict=False):
        for row, frame in enumerate(_scanned_frames(part), start=start):
            reasons = (*frame.reasons, *novel.get(row, ()))
            if not reasons:
                continue
            kept[part.recording, row] = frame
            found.append(
                Found(
                    recording=part.recording,
                    row=row,
                    topic=frame.topic,
                    recorded_ns=frame.recorded_ns,
                    hash=int(frames.hash[row]),
                    embedding=frames.embedding[row],
                    reasons=reasons,
                )
            )
    return found, kept


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
