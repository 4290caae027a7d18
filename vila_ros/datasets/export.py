# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The export as a whole: tasks done somewhere, then the format's files, statistics and preview."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vila_ros.datasets.media_folder import ExportFailed
from vila_ros.datasets.plan import WORK, ExportOptions, Plan, plan_export
from vila_ros.datasets.preview import write_preview
from vila_ros.datasets.provenance import PROVENANCE
from vila_ros.datasets.records import ExportedSample, read_samples
from vila_ros.datasets.slice_export import SAMPLES
from vila_ros.datasets.statistics import Statistics
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export, TaskOutput, format_of
from vila_ros.errors import InvalidRequest
from vila_ros.fleet.output_folder import NOTES, OutputFolder
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.types import Progress, TaskResult

KIND = "vila export"
STATISTICS, PREVIEW = "statistics.json", "preview.html"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export made. already: it was complete before, and nothing was done."""

    out: Path
    statistics: dict[str, Any]
    warnings: tuple[str, ...]
    already: bool = False


def run_export(
    options: ExportOptions,
    out: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ExportReport:
    """Export into a folder that is empty or of the same export, which is then gone on with.

    What is complete there is the same, byte for byte, however often it was interrupted. Raises
    VilaError; nothing but a hidden folder to go on from is there before all tasks are done.
    """
    plan = plan_export(options)
    with OutputFolder(out, KIND, plan.parameters) as folder:
        if folder.complete:
            summary = json.loads((out / STATISTICS).read_text())
            return ExportReport(out, summary, plan.warnings, already=True)
        statistics = Statistics()
        results = _results(plan, folder, workers, ray, progress, statistics)
        if not any(result.value["samples"] for result in results):
            # There is nothing to go on from; another template may use the folder.
            shutil.rmtree(out / NOTES, ignore_errors=True)
            raise InvalidRequest(_nothing(results))
        summary = _complete(options, plan, folder, results, statistics)
        folder.finish()
    warnings = dict.fromkeys(
        [*plan.warnings, *(text for result in results for text in result.value["warnings"])]
    )
    return ExportReport(out, summary, tuple(warnings))


def _results(
    plan: Plan,
    folder: OutputFolder,
    workers: int,
    ray: str | None,
    progress: Callable[[Progress], None] | None,
    statistics: Statistics,
) -> list[TaskResult]:
    """What the tasks gave; their samples are counted while others are still worked on."""
    results = []
    running = run_tasks(
        plan.tasks, WORK, folder.ledger, workers=workers, ray=ray, progress=progress
    )
    for result in running:
        if result.error:
            raise ExportFailed(f"{result.task.id}: {result.error}")
        results.append(result)
        statistics.add_task(result.value)
        for sample in read_samples(_folder(result) / SAMPLES):
            statistics.add(sample)
    return results


def _complete(
    options: ExportOptions,
    plan: Plan,
    folder: OutputFolder,
    results: Sequence[TaskResult],
    statistics: Statistics,
) -> dict[str, Any]:
    """Everything from the tasks' folders to the format's files; may be repeated after a crash."""
    outputs = [
        TaskOutput(_folder(result), result.task.arguments["slice"]["place"], result.value)
        for result in results
    ]

    def samples() -> Iterator[ExportedSample]:
        for output in outputs:
            yield from read_samples(output.folder / SAMPLES)

    def adopt(source: Path, place: str) -> None:
        if source.exists():  # else a run before this one has moved it
            folder.adopt(source, place)

    with whole_file(folder.path / PROVENANCE) as file:
        for output in outputs:
            with (output.folder / PROVENANCE).open("rb") as lines:
                shutil.copyfileobj(lines, file)
    summary = {
        "format": options.format,
        "recordings": [_about(each) for each in plan.recordings],
        "split": asdict(options.split),
        **statistics.summary(),
    }
    write_preview(folder.path / PREVIEW, options.name, summary, outputs)
    format_of(options.format).write(
        Export(folder.path, options.name, samples, outputs, adopt, asdict(options.lerobot))
    )
    with whole_file(folder.path / STATISTICS) as file:
        file.write((json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    return summary


def _about(recording: Any) -> dict[str, Any]:
    return {
        "name": recording.name,
        "path": str(recording.path),
        "start_ns": recording.start_ns,
        "end_ns": recording.end_ns,
        "cameras": {camera.name: camera.topic for camera in recording.cameras},
        "parts": [
            {"part": part, "from_ns": first, "to_ns": last}
            for part, first, last in zip(
                recording.timeline.parts,
                recording.timeline.borders,
                recording.timeline.borders[1:],
                strict=False,
            )
            if last > first
        ],
    }


def _nothing(results: Sequence[TaskResult]) -> str:
    left_out: Counter[str] = Counter()
    for result in results:
        left_out.update(result.value["left_out"])
    why = "; ".join(f"{count} left out: {name}" for name, count in left_out.most_common(5))
    return f"The export would hold no sample ({why or 'no frame matched a rule'})."


def _folder(result: TaskResult) -> Path:
    assert result.folder is not None
    return result.folder
