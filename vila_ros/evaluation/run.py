# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates models on recordings: plans the tasks, and gathers their answers in order."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vila_ros.bags.recording import open_recording
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.evaluation.ask_task import ANSWERS, TIMINGS, WORK, read_rows
from vila_ros.evaluation.asker import chosen_cameras
from vila_ros.evaluation.baseline import read_baseline
from vila_ros.evaluation.plan import AskPlan, PlannedQuestion, Schedule
from vila_ros.evaluation.recordings import named_recordings, overlaps
from vila_ros.evaluation.results import Results, timing_summary
from vila_ros.evaluation.scoring import score_row, truth_name
from vila_ros.evaluation.types import EvaluationQuestion, QuestionFile, ScoredAnswer
from vila_ros.fleet.output_folder import OutputFolder, model_identity, recording_identity
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.slices import time_slices
from vila_ros.fleet.types import Progress, Task, TaskResult, task_id

KIND = "vila evaluate"
SLICE_SECONDS = 300.0
THUMBNAILS = 400  # of a task at most


@dataclass(frozen=True)
class EvaluationSettings:
    """models: by the names that the report calls them. baseline: an earlier run's folder."""

    models: Mapping[str, EngineSpec]
    seed: int = 0
    frame_rate: float | None = None
    baseline: Path | None = None


@dataclass
class Gathered:
    """What the tasks gave, in the order of the tasks."""

    answers: list[ScoredAnswer] = field(default_factory=list)
    timings: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    frames: dict[tuple[str, str], Path] = field(default_factory=dict)
    engines: dict[str, tuple[str, str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        """Keep a warning that is new."""
        if text not in self.warnings:
            self.warnings.append(text)


@dataclass(frozen=True)
class Evaluated:
    """results: None where the folder was complete already, or nothing could be asked. unreadable:
    recording -> why it was left out. passed: whether all thresholds hold. verdicts: on each
    threshold, as in results.json, of a folder that was complete already."""

    results: Results | None
    unreadable: Mapping[str, str]
    warnings: Sequence[str]
    passed: bool
    verdicts: Sequence[Mapping[str, Any]] = ()


def evaluate(
    paths: Sequence[Path],
    questions: QuestionFile,
    questions_text: str,
    settings: EvaluationSettings,
    out: Path,
    write: Callable[[OutputFolder, Results, Gathered], None],
    *,
    workers: int = 1,
    ray: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Evaluated:
    """Ask, score and write.

    questions_text: the file's, by which runs are told apart. write: makes the files of the output.
    Recordings that cannot be read are left out and named, and the next run into the folder tries
    them again. Raises UnusableFolder, InvalidRequest.
    """
    named = named_recordings(paths)
    baseline = read_baseline(settings.baseline) if settings.baseline else None
    parameters = {
        "recordings": {name: recording_identity(path) for name, path in named.items()},
        "questions": questions_text,
        "models": {
            name: {**asdict(spec), "identity": model_identity(spec.model)}
            for name, spec in settings.models.items()
        },
        "seed": settings.seed,
        "frame_rate": settings.frame_rate,
        "baseline": baseline.digest if baseline else None,
    }
    with OutputFolder(out, KIND, parameters) as output:
        if output.complete:
            verdicts = _written_verdicts(out)
            return Evaluated(None, {}, (), all(each["holds"] for each in verdicts), verdicts)
        gathered = Gathered()
        run = _Run(questions, settings, gathered)
        tasks = run.plan(named)
        for result in run_tasks(
            tasks, WORK, output.ledger, workers=workers, ray=ray, progress=progress
        ):
            run.take(result)
        if not gathered.answers and gathered.unreadable:
            return Evaluated(None, gathered.unreadable, gathered.warnings, False)
        results = Results.of(
            questions, run.spans, gathered.answers, gathered.engines, baseline
        ).judged(timing_summary(gathered.timings))
        write(output, results, gathered)
        if not gathered.unreadable:
            output.finish()
        return Evaluated(results, gathered.unreadable, gathered.warnings, results.passed)


def _written_verdicts(out: Path) -> list[Mapping[str, Any]]:
    try:
        return [
            verdict
            for name in ("results.json", "timings.json")
            for verdict in json.loads((out / name).read_text(encoding="utf-8"))["thresholds"]
        ]
    except (OSError, ValueError, KeyError):
        raise InvalidRequest(
            f"'{out}' is of a run that is complete, but its results.json or timings.json is gone; "
            "remove the folder."
        ) from None


class _Run:
    """Tasks for recordings and models, and their results as scored answers."""

    def __init__(
        self, questions: QuestionFile, settings: EvaluationSettings, gathered: Gathered
    ) -> None:
        self._questions = {each.id: each for each in questions.questions}
        self._settings = settings
        self._gathered = gathered
        self._of: dict[str, tuple[str, str]] = {}
        self.spans: dict[str, tuple[int, int]] = {}

    def plan(self, named: Mapping[str, Path]) -> list[Task]:
        """A task for each slice of each recording and each model.

        Its id does not depend on which other recordings can be read, so that what is done is kept
        when another one can be read in a later run.
        """
        tasks: list[Task] = []
        for number, (name, path) in enumerate(named.items()):
            try:
                plans = self._plans(name, path)
            except VilaError as error:
                self._gathered.unreadable[name] = error.message
                continue
            for part, (model, plan) in enumerate(plans):
                task = plan.task(task_id(number, f"{name}-{model}-{part:04d}"))
                self._of[task.id] = model, name
                tasks.append(task)
        for text in overlaps(self.spans):
            self._gathered.warn(text)
        if not tasks and not self._gathered.unreadable:
            raise InvalidRequest("No question of the file is asked of any of these recordings.")
        return tasks

    def _plans(self, name: str, path: Path) -> Iterable[tuple[str, AskPlan]]:
        recording = open_recording(path, frame_rate=self._settings.frame_rate)
        questions = planned_questions(self._questions.values(), name)
        if not questions:
            self._gathered.warn(f"no question is asked of {name}")
            return []
        chosen_cameras(recording, questions)
        self.spans[name] = recording.start_ns, recording.end_ns
        plans = []
        for model, spec in self._settings.models.items():
            for start, end in time_slices(recording.start_ns, recording.end_ns, SLICE_SECONDS):
                plan = AskPlan(
                    recording=str(path.absolute()),
                    engine=spec,
                    questions=questions,
                    start_ns=start,
                    end_ns=end,
                    origin_ns=recording.start_ns,
                    last_ns=recording.end_ns,
                    seed=self._settings.seed,
                    frame_rate=self._settings.frame_rate,
                    thumbnails=THUMBNAILS,
                )
                plans.append((model, plan))
        return plans

    def take(self, result: TaskResult) -> None:
        """Score a task's answers."""
        model, name = self._of[result.task.id]
        gathered = self._gathered
        if result.error:
            gathered.unreadable[f"{name} ({model})"] = result.error
            return
        assert result.folder is not None
        for row in read_rows(result.folder / ANSWERS):
            scored = score_row(self._questions[row["question"]], row, model, name)
            gathered.answers.append(scored)
            if row["frame"]:
                key = (name, row["frame"])
                gathered.frames.setdefault(key, result.folder / "frames" / row["frame"])
        timings = list(read_rows(result.folder / TIMINGS))
        asked = gathered.answers[len(gathered.answers) - len(timings) :]
        for timing, answer in zip(timings, asked, strict=True):
            gathered.timings.append((model, answer.question, timing))
        for warning in result.value["warnings"]:
            gathered.warn(f"{name}: {warning}")
        gathered.engines[model] = result.value["model"], result.value["runtime"]


def planned_questions(
    questions: Iterable[EvaluationQuestion], recording: str
) -> tuple[PlannedQuestion, ...]:
    """The questions that are asked of a recording."""
    planned = []
    for question in questions:
        patterns = question.recordings
        if patterns and not any(fnmatch.fnmatchcase(recording, each) for each in patterns):
            continue
        sources = question.expect.sources.values()
        labels = [label for source in sources for label in source.labels]
        schedule = question.schedule
        if labels:
            times = {seconds for name, seconds, _ in labels if name in ("", recording)}
            if not times:
                continue
            schedule = Schedule(at=tuple(sorted(times)))
        truths = {truth_name(each): each.topic for each in sources if each.topic is not None}
        planned.append(PlannedQuestion(question.id, schedule, question.fields, truths=truths))
    return tuple(planned)
