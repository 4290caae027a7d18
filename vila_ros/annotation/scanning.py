# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One recording, or a slice of it, on its way to candidates: every sampled frame and its reasons.

The work of one task; what it writes is all that the comparison of the whole fleet needs:

    frames.jsonl     a sampled frame a line, with its reasons
    times.npy        int64 [n], when each was recorded
    cameras.npy      int32 [n], which camera, by the order of their topics
    hashes.npy       uint64 [n]
    embeddings.npy   float16 [n, C], of length 1 each; C is 0 without a vision model
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vila_ros.annotation.asking import Interviewer
from vila_ros.annotation.cameras import scanned_cameras, sights
from vila_ros.annotation.miners import Miner, Moment
from vila_ros.annotation.motion import HardMotion
from vila_ros.annotation.novelty import Novelty
from vila_ros.annotation.perceptual_hash import perceptual_hash
from vila_ros.annotation.questions import (
    LowConfidence,
    ModelDisagreement,
    QuestionDisagreement,
    UserQuestions,
)
from vila_ros.annotation.records import to_line
from vila_ros.annotation.settings import AnnotationSettings, VisionSpec
from vila_ros.annotation.types import Reason
from vila_ros.bags.recording import open_recording
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidImage
from vila_ros.fleet.engines import process_engine
from vila_ros.fleet.types import Task

if TYPE_CHECKING:
    from vila_ros.model.image_embedding import ImageEmbedder

MAX_WARNINGS = 20
"""Warnings of one task that are told; the rest is counted."""


@dataclass(frozen=True, slots=True)
class ScannedFrame:
    """A sampled frame, not decoded any more."""

    camera: str
    topic: str
    stamp_ns: int
    recorded_ns: int
    frame_id: str
    width: int
    height: int
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        fields = {name: getattr(self, name) for name in ScannedFrame.__slots__}
        fields["reasons"] = [
            {name: getattr(reason, name) for name in Reason.__slots__} for reason in self.reasons
        ]
        return fields

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ScannedFrame:
        """The frame of to_json."""
        reasons = tuple(Reason(**reason) for reason in row["reasons"])
        return cls(**{**row, "reasons": reasons})


def scan(task: Task, folder: Path) -> dict[str, Any]:
    """Scan a recording (the work of a task, see the module); returns counts and warnings.

    task.arguments: recording, start_ns, end_ns, settings. Raises InvalidRecording, InvalidRequest
    and the engine's errors.
    """
    settings = AnnotationSettings.from_json(task.arguments["settings"])
    recording = open_recording(task.arguments["recording"])
    warnings = _Warnings()
    frames = scan_recording(
        recording,
        settings,
        task.arguments["start_ns"],
        task.arguments["end_ns"],
        build_miners(settings, warnings.add),
        embedder(settings.vision) if settings.vision is not None else None,
        warnings.add,
    )
    topics = [camera.topic for camera in scanned_cameras(recording, settings.cameras)]
    times, cameras, hashes, embeddings = [], [], [], []
    with (folder / "frames.jsonl").open("w", encoding="utf-8") as file:
        for frame, hashed, embedding in frames:
            file.write(to_line(frame.to_json()))
            times.append(frame.recorded_ns)
            cameras.append(topics.index(frame.topic))
            hashes.append(hashed)
            embeddings.append(embedding)
    for warning in recording.warnings:
        warnings.add(warning)
    np.save(folder / "times.npy", np.array(times, np.int64))
    np.save(folder / "cameras.npy", np.array(cameras, np.int32))
    np.save(folder / "hashes.npy", np.array(hashes, np.uint64))
    rows = np.array(embeddings, np.float16) if embeddings else np.empty((0, 0), np.float16)
    np.save(folder / "embeddings.npy", rows)
    return {"frames": len(times), "warnings": warnings.told()}


def scan_recording(
    recording: Recording,
    settings: AnnotationSettings,
    start_ns: int,
    end_ns: int,
    miners: Sequence[Miner],
    embed: ImageEmbedder | None,
    skipped: Callable[[str], None],
) -> Iterator[tuple[ScannedFrame, int, np.ndarray]]:
    """Each sampled frame with its reasons, perceptual hash and embedding (float16 [C])."""
    cameras = scanned_cameras(recording, settings.cameras)
    moments = [moment for miner in miners for moment in miner.listen(recording, start_ns, end_ns)]
    times = sample_times(recording.start_ns, start_ns, end_ns, settings.every, moments)
    waiting = {camera.topic: sorted(moments, key=_when) for camera in cameras}
    for sight in sights(recording, cameras, times, start_ns, end_ns, skipped):
        reasons = [*_due(waiting[sight.camera.topic], sight.recorded_ns)]
        try:
            reasons += [reason for miner in miners for reason in miner.look(sight)]
            embedding = embed.embed([sight.pixels])[0] if embed is not None else np.empty(0)
        except InvalidImage as error:
            # Of a shape that the model does not take; the other frames are none the worse for it.
            skipped(f"{sight.camera.topic} at {sight.recorded_ns}: {error.message}")
            continue
        width, height = sight.size
        frame = ScannedFrame(
            sight.camera.name,
            sight.camera.topic,
            sight.stamp_ns,
            sight.recorded_ns,
            sight.frame.frame_id,
            width,
            height,
            tuple(reasons),
        )
        yield frame, perceptual_hash(sight.pixels), embedding.astype(np.float16)


def sample_times(
    first_ns: int, start_ns: int, end_ns: int, every: float, moments: Sequence[Moment]
) -> list[int]:
    """The times of which the next frame is looked at: evenly from first_ns on, and the moments.

    Slices of a recording sample the same times as the whole.
    """
    step = max(1, round(every * 1e9))
    begin = first_ns + -(-(start_ns - first_ns) // step) * step
    return sorted({*range(begin, end_ns + 1, step), *(moment.recorded_ns for moment in moments)})


def build_miners(settings: AnnotationSettings, skipped: Callable[[str], None]) -> list[Miner]:
    """The miners that the settings ask for; loads the engines. Raises their errors."""
    miners: list[Miner] = []
    if settings.limits is not None:
        miners.append(HardMotion(settings.limits, settings.steering_scale, skipped))
    if settings.vision is not None:
        miners.append(Novelty(settings.novelty))
    if settings.engine is None or not settings.asked:
        return miners
    first = Interviewer(process_engine(settings.engine))
    miners.append(UserQuestions(first, settings.questions))
    if settings.confidence:
        miners.append(LowConfidence(first, settings.asked, settings.confidence))
    pairs = [(*pair, True) for pair in settings.same]
    pairs += [(*pair, False) for pair in settings.opposite]
    if pairs:
        miners.append(QuestionDisagreement(first, pairs))
    if settings.second is not None:
        second = Interviewer(process_engine(settings.second))
        miners.append(ModelDisagreement(first, second, settings.asked))
    return miners


@lru_cache(maxsize=1)
def embedder(spec: VisionSpec) -> ImageEmbedder:
    """The vision tower of this process, loaded once."""
    from vila_ros.model.image_embedding import ImageEmbedder

    return ImageEmbedder(spec.model, device=spec.device, dtype=spec.dtype)


def _when(moment: Moment) -> int:
    return moment.recorded_ns


def _due(waiting: list[Moment], recorded_ns: int) -> Iterator[Reason]:
    """The reasons of the moments up to a time, which are not waited for any more."""
    while waiting and waiting[0].recorded_ns <= recorded_ns:
        yield waiting.pop(0).reason


class _Warnings:
    """Some warnings, and how many more there were."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0

    def add(self, text: str) -> None:
        """Keep a warning that is new."""
        if text in self._texts:
            return
        if len(self._texts) < MAX_WARNINGS:
            self._texts.append(text)
        else:
            self._more += 1

    def told(self) -> list[str]:
        """What is told."""
        return [*self._texts, *([f"and {self._more} warnings more"] if self._more else [])]
