# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings described as the robot would describe them: to the terminal, and to new recordings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.bags.recording import open_recording
from vila_ros.bags.types import Recording
from vila_ros.bags.vila_messages import DescriptionWriter
from vila_ros.bags.writer import BagWriter
from vila_ros.engine.interface import EngineSpec, GenerationStats
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.evaluation.ask_task import ANSWERS, WORK, read_rows
from vila_ros.evaluation.asker import chosen_cameras
from vila_ros.evaluation.plan import AskPlan, PlannedQuestion, Schedule
from vila_ros.evaluation.recordings import named_recordings
from vila_ros.fleet.output_folder import OutputFolder, model_identity, recording_identity
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.slices import time_slices
from vila_ros.fleet.types import Progress, Task, TaskResult, task_id
from vila_ros.perception.types import Answer, FrameReference

KIND = "vila replay"
SLICE_SECONDS = 60.0


@dataclass(frozen=True)
class ReplaySettings:
    """What is asked and how.

    every: recorded seconds between two askings. fields: of the question, see PlannedQuestion.
    start, duration: seconds into each recording, and of it; 0 is to its end. frame_rate: see
    open_recording. with_images: the new recordings hold the cameras' messages as well.
    """

    engine: EngineSpec
    every: float
    fields: Mapping[str, Any]
    seed: int = 0
    start: float = 0.0
    duration: float = 0.0
    frame_rate: float | None = None
    with_images: bool = False
    storage: str = "mcap"

    @property
    def question(self) -> PlannedQuestion:
        """The one question of a replay."""
        return PlannedQuestion("description", Schedule(every=self.every), self.fields, True)


@dataclass(frozen=True)
class Described:
    """A line for the terminal. seconds: since the recording's start."""

    recording: str
    seconds: float
    text: str
    error: str


@dataclass(frozen=True)
class ReplayOutcome:
    """described, failed: questions. unreadable: recording -> why. warnings: what was left out.
    already: the folder was complete before."""

    described: int
    failed: int
    unreadable: Mapping[str, str]
    warnings: Sequence[str]
    already: bool = False


def replay_plan(path: Path, settings: ReplaySettings) -> AskPlan:
    """All of a recording. Raises InvalidRecording, UnknownCamera, InvalidRequest."""
    recording = open_recording(path, frame_rate=settings.frame_rate)
    chosen_cameras(recording, [settings.question])
    start = recording.start_ns + round(settings.start * 1e9)
    end = recording.end_ns
    if settings.duration:
        end = min(end, start + round(settings.duration * 1e9))
    return AskPlan(
        recording=str(path.absolute()),
        engine=settings.engine,
        questions=(settings.question,),
        start_ns=start,
        end_ns=end,
        origin_ns=recording.start_ns,
        last_ns=recording.end_ns,
        seed=settings.seed,
        frame_rate=settings.frame_rate,
    )


def replay_to_folder(
    paths: Sequence[Path],
    settings: ReplaySettings,
    out: Path,
    *,
    workers: int = 1,
    ray: str | None = None,
    tell: Callable[[Described], None] = lambda _: None,
    progress: Callable[[Progress], None] | None = None,
) -> ReplayOutcome:
    """Write OUT/NAME, a recording of the descriptions, and OUT/NAME.jsonl for each recording.

    Raises UnusableFolder, and InvalidRequest where no recording had a frame to describe. Recordings
    that cannot be read are left out and named in the outcome, and the next run into the folder
    tries them again.
    """
    named = named_recordings(paths)
    parameters = {
        "recordings": {name: recording_identity(path) for name, path in named.items()},
        "settings": asdict(settings),
        "model": model_identity(settings.engine.model),
    }
    with OutputFolder(out, KIND, parameters) as output:
        if output.complete:
            return _outcome_of(out, list(named))
        run = _FolderRun(settings, output, tell)
        tasks = run.plan(named)
        results = run_tasks(tasks, WORK, output.ledger, workers=workers, ray=ray, progress=progress)
        for result in results:
            run.take(result)
        run.write_last()
        if not run.unreadable:
            check_described(run.described + run.failed)
            output.finish()
        return ReplayOutcome(run.described, run.failed, run.unreadable, run.warnings)


def check_described(count: int) -> None:
    """Raise InvalidRequest where nothing was asked."""
    if not count:
        raise InvalidRequest("There was no frame to describe between --start and the end.")


def _outcome_of(out: Path, names: Sequence[str]) -> ReplayOutcome:
    """What the run that completed the folder had to tell, so that a repeated command ends alike."""
    try:
        rows = [
            row
            for name in names
            if (out / name).exists()  # one that ends before --start has none
            for row in read_rows(out / f"{name}.jsonl")
        ]
        failed = sum(row["error"] is not None for row in rows)
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidRequest(
            f"'{out}' is of a run that is complete, but its answers are gone or damaged; remove "
            "the folder."
        ) from None
    return ReplayOutcome(len(rows) - failed, failed, {}, (), already=True)


class _FolderRun:
    """Results by task, in order, become a recording for each recording."""

    def __init__(
        self, settings: ReplaySettings, output: OutputFolder, tell: Callable[[Described], None]
    ) -> None:
        self._settings, self._output, self._tell = settings, output, tell
        self.described = self.failed = 0
        self.unreadable: dict[str, str] = {}
        self.warnings: list[str] = []
        self._names: dict[str, str] = {}
        self._paths: dict[str, Path] = {}
        self._name = ""
        self._rows: list[dict[str, Any]] = []

    def plan(self, named: Mapping[str, Path]) -> list[Task]:
        """The tasks: slices of each recording. For their ids see vila_ros.evaluation.run."""
        tasks: list[Task] = []
        for number, (name, path) in enumerate(named.items()):
            try:
                whole = replay_plan(path, self._settings)
            except VilaError as error:
                self.unreadable[name] = error.message
                continue
            self._paths[name] = path
            slices = time_slices(whole.start_ns, whole.end_ns, SLICE_SECONDS)
            for part, (start, end) in enumerate(slices):
                plan = AskPlan(**{**_shallow(whole), "start_ns": start, "end_ns": end})
                task = plan.task(task_id(number, f"{name}-{part:04d}"))
                self._names[task.id] = name
                tasks.append(task)
        return tasks

    def take(self, result: TaskResult) -> None:
        """Note a slice's answers; a recording is written when the next one begins."""
        name = self._names[result.task.id]
        if name != self._name:
            self.write_last()
            self._name = name
        if result.error:
            self.unreadable[name] = result.error
            return
        assert result.folder is not None
        for row in read_rows(result.folder / ANSWERS):
            self._rows.append(row)
            self.failed += row["error"] is not None
            self.described += row["error"] is None
            error = row["error"]["message"] if row["error"] else ""
            self._tell(Described(name, row["seconds"], row["text"], error))
        for warning in result.value["warnings"]:
            if (told := f"{name}: {warning}") not in self.warnings:
                self.warnings.append(told)
        self._model = result.value["model"], result.value["runtime"]

    def write_last(self) -> None:
        """Write the recording whose slices have been taken, unless one of them failed."""
        name, rows = self._name, self._rows
        self._name, self._rows = "", []
        if not name or name in self.unreadable:
            return
        settings = self._settings
        for row in rows:
            row["model"], row["runtime"] = self._model
        folder = self._output.path / name
        if folder.exists():  # of a run that was killed before it came to its end
            shutil.rmtree(folder)
        recording = open_recording(self._paths[name], frame_rate=settings.frame_rate)
        cameras = chosen_cameras(recording, [settings.question])
        with BagWriter(folder, settings.storage) as writer:
            images = _images(recording, cameras, settings) if settings.with_images else iter(())
            _write_rows(writer, rows, str(settings.fields["prompt"]), images)
        lines = [json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows]
        self._output.write(f"{name}.jsonl", "".join(f"{line}\n" for line in lines))


def _images(
    recording: Recording, cameras: Sequence[RecordedCamera], settings: ReplaySettings
) -> Iterator[Any]:
    start = recording.start_ns + round(settings.start * 1e9)
    end = start + round(settings.duration * 1e9) if settings.duration else None
    return recording.messages([camera.topic for camera in cameras], start, end)


def _write_rows(
    writer: BagWriter, rows: Sequence[Mapping[str, Any]], prompt: str, images: Iterator[Any]
) -> None:
    """Answers and images in the order of their times."""
    descriptions = DescriptionWriter(writer)
    image = next(images, None)
    for row in rows:
        while image is not None and image.stamp_ns <= row["stamp_ns"]:
            writer.write(image.topic, image.type, image.stamp_ns, image.data)
            image = next(images, None)
        if row["error"] is None and row["frames"]:
            descriptions.write(_answer(row), prompt, row["stamp_ns"])
    while image is not None:
        writer.write(image.topic, image.type, image.stamp_ns, image.data)
        image = next(images, None)


def _answer(row: Mapping[str, Any]) -> Answer:
    """An answer from its row."""
    return Answer(
        text=row["text"],
        json=row["json"],
        frames=tuple(FrameReference(**frame) for frame in row["frames"]),
        model=row["model"],
        runtime=row["runtime"],
        stats=GenerationStats(
            prompt_tokens=row["prompt_tokens"],
            image_tokens=row["image_tokens"],
            completion_tokens=row["completion_tokens"],
        ),
    )


def _shallow(plan: AskPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__slots__}
