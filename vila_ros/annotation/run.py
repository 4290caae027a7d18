# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From recordings to an annotation folder: scan each, compare all, extract and draft the best."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vila_ros.annotation.novelty import Novelty
from vila_ros.annotation.records import candidate_from_json, candidate_to_json, to_line
from vila_ros.annotation.selection import Scanned, select
from vila_ros.annotation.settings import AnnotationSettings
from vila_ros.annotation.store import CANDIDATES, DRAFTS, FORMAT, MANIFEST, VERSION
from vila_ros.annotation.types import Candidate
from vila_ros.bags.recording import open_recording
from vila_ros.errors import InvalidRequest
from vila_ros.fleet.output_folder import OutputFolder, model_identity, recording_identity
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.slices import time_slices
from vila_ros.fleet.types import Progress, Task, TaskResult, task_id

SCAN = "vila_ros.annotation.scanning:scan"
EXTRACT = "vila_ros.annotation.extraction:extract"
KIND = "vila annotate"
SLICE_SECONDS = 600.0
CHUNK = 20
"""Candidates that one task extracts and drafts."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run gave.

    frames: looked at. failed: recordings or parts of candidates that could not be read, a line
    each. warnings: what of the others was skipped. complete: whether the folder is finished; it is
    not while something failed. was_complete: it had been before this run began.
    """

    candidates: tuple[Candidate, ...]
    frames: int
    warnings: tuple[str, ...]
    failed: tuple[str, ...]
    complete: bool
    was_complete: bool = False


@dataclass(frozen=True)
class Fleet:
    """Where the work is done; see vila_ros.fleet.run.run_tasks. progress: told with the stage."""

    workers: int = 1
    ray: str | None = None
    progress: Callable[[str, Progress], None] = lambda stage, progress: None


def annotate(
    recordings: Sequence[Path],
    out: Path,
    settings: AnnotationSettings,
    fleet: Fleet,
    skip_failed: bool = False,
) -> Outcome:
    """Mine the recordings and draft; go on where a run of the same was interrupted.

    skip_failed: finish without what could not be read. Raises InvalidRecording for a recording that
    cannot be opened, InvalidRequest for one that is named twice, UnusableFolder for a folder of
    something else or a full disk.
    """
    paths = [path.absolute() for path in recordings]
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise InvalidRequest(f"'{twice}' is named twice.")
    scans = _scan_tasks(paths, settings)
    parameters = {
        "recordings": [recording_identity(path) for path in paths],
        "settings": settings.to_json(),
        "models": {name: model_identity(spec.model) for name, spec in settings.models.items()},
    }
    with OutputFolder(out, KIND, parameters) as folder:
        if folder.complete:
            return _finished(out)
        return _annotate(folder, paths, scans, settings, fleet, skip_failed)


def _annotate(
    folder: OutputFolder,
    paths: list[Path],
    scans: list[Task],
    settings: AnnotationSettings,
    fleet: Fleet,
    skip_failed: bool,
) -> Outcome:
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "recordings": [str(path) for path in paths],
        "settings": settings.to_json(),
    }
    folder.write(MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
    scanned = _run(scans, SCAN, folder.ledger / "scan", "scan", fleet)
    failed = _failures(scanned)
    warnings = [
        _named(result, warning)
        for result in scanned
        if not result.error
        for warning in result.value["warnings"]
    ]
    frames = sum(result.value["frames"] for result in scanned if not result.error)
    if failed and not skip_failed:
        return Outcome((), frames, tuple(warnings), tuple(failed), complete=False)
    parts = [
        Scanned(result.task.arguments["number"], result.folder)
        for result in scanned
        if result.folder is not None
    ]
    miners = [Novelty(settings.novelty)] if settings.vision is not None else []
    candidates = select(parts, paths, settings, miners)
    extracts = _extract_tasks(candidates, settings)
    extracted = _run(extracts, EXTRACT, folder.ledger / "extract", "draft", fleet)
    failed += _failures(extracted)
    if failed and not skip_failed:
        return Outcome((), frames, tuple(warnings), tuple(failed), complete=False)
    kept = _adopt(folder, candidates, extracted)
    lines = "".join(to_line(candidate_to_json(candidate)) for candidate in kept)
    folder.write(CANDIDATES, lines)
    folder.finish()
    return Outcome(tuple(kept), frames, tuple(warnings), tuple(failed), complete=True)


def _scan_tasks(paths: Sequence[Path], settings: AnnotationSettings) -> list[Task]:
    tasks: list[Task] = []
    for number, path in enumerate(paths):
        recording = open_recording(path)
        slices = time_slices(recording.start_ns, recording.end_ns, SLICE_SECONDS)
        for part, (start, end) in enumerate(slices):
            arguments = {
                "recording": str(path),
                "number": number,
                "start_ns": start,
                "end_ns": end,
                "settings": settings.to_json(),
            }
            name = path.name if len(slices) == 1 else f"{path.name}-{part:04d}"
            tasks.append(Task(task_id(len(tasks), name), arguments, (end - start + 1) / 1e9))
    return tasks


def _extract_tasks(candidates: Sequence[Candidate], settings: AnnotationSettings) -> list[Task]:
    """Tasks of a few candidates of one recording each, in the order of their time."""
    by_recording: dict[str, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda c: (c.recording, c.recorded_ns, c.id)):
        by_recording.setdefault(candidate.recording, []).append(candidate)
    tasks: list[Task] = []
    for recording, found in by_recording.items():
        for start in range(0, len(found), CHUNK):
            chunk = found[start : start + CHUNK]
            arguments = {
                "recording": recording,
                "candidates": [candidate_to_json(candidate) for candidate in chunk],
                "settings": settings.to_json(),
            }
            tasks.append(
                Task(task_id(len(tasks), Path(recording).name), arguments, float(len(chunk)))
            )
    return tasks


def _run(
    tasks: Sequence[Task], work: str, ledger: Path, stage: str, fleet: Fleet
) -> list[TaskResult]:
    def told(progress: Progress) -> None:
        fleet.progress(stage, progress)

    return list(run_tasks(tasks, work, ledger, workers=fleet.workers, ray=fleet.ray, progress=told))


def _failures(results: Sequence[TaskResult]) -> list[str]:
    return [_named(result, result.error) for result in results if result.error]


def _named(result: TaskResult, text: str) -> str:
    """A text with its recording's name in front, unless it says that itself."""
    name = Path(result.task.arguments["recording"]).name
    return text if text.startswith(name) else f"{name}: {text}"


def _adopt(
    folder: OutputFolder, candidates: Sequence[Candidate], extracted: Sequence[TaskResult]
) -> list[Candidate]:
    """Bring the files to their place; the candidates that have theirs, in their order."""
    found: dict[str, Candidate] = {}
    for result in extracted:
        if result.folder is None:
            continue
        rows: list[Any] = result.value
        for candidate in map(candidate_from_json, rows):
            for name in (candidate.image, f"{DRAFTS}/{candidate.id}.json"):
                # What is not there was brought by a run that was interrupted in the middle of it.
                if (result.folder / name).exists():
                    folder.adopt(result.folder / name, name)
            found[candidate.id] = candidate
    return [found[each.id] for each in candidates if each.id in found]


def _finished(out: Path) -> Outcome:
    """What a run had given that was complete before."""
    from vila_ros.annotation.store import AnnotationFolder

    candidates = tuple(AnnotationFolder(out).candidates.values())
    return Outcome(candidates, 0, (), (), complete=True, was_complete=True)
