# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The data of each stage: named, looked through, and parted into what trains and what scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vila_ros.datasets.reading.check import CheckReport, check_mixture
from vila_ros.datasets.reading.mixture import Mixture, parse_mixture, read_registry
from vila_ros.datasets.reading.quality import QualityFilter
from vila_ros.datasets.reading.vila_json import MAX_FRAMES
from vila_ros.errors import InvalidRequest
from vila_ros.model.vila import Vila
from vila_ros.training.card import DataNote
from vila_ros.training.encoding import SampleEncoder
from vila_ros.training.run_folder import RunFolder
from vila_ros.training.stages import Stage

SHOWN = 20
"""Complaints that are printed one by one."""


@dataclass(frozen=True)
class DataRequest:
    """mixtures: by stage; "" for stages that have none of their own. media: folder of files that
    are named directly. filters: see quality.QualityFilter. on_error: "refuse" or "skip" what is
    unfit. check: look through everything first. held_out: the part of every file to score on."""

    mixtures: Mapping[str, str]
    registry: Path | None = None
    media: Path | None = None
    filters: tuple[QualityFilter, ...] = ()
    on_error: str = "refuse"
    check: bool = True
    held_out: float = 0.0
    frames: int = 8

    def __post_init__(self) -> None:
        if self.on_error not in ("refuse", "skip"):
            raise InvalidRequest(f"on-error is {self.on_error!r}; use refuse or skip")
        if not 0.0 <= self.held_out <= 0.9:
            raise InvalidRequest(f"held out is {self.held_out}, expected 0 to 0.9")
        if not 1 <= self.frames <= MAX_FRAMES:
            raise InvalidRequest(f"frames is {self.frames}, expected 1 to {MAX_FRAMES}")

    def mixture_of(self, stage: str) -> str:
        """The mixture's text for a stage."""
        text = self.mixtures.get(stage, self.mixtures.get(""))
        if not text:
            raise InvalidRequest(
                f"stage {stage} has no data; give --data MIXTURE, or --data {stage}=MIXTURE"
            )
        return text

    def open(self, stage: Stage) -> Mixture:
        """All data of a stage."""
        registry = read_registry(self.registry) if self.registry else None
        text = self.mixture_of(stage.name)
        return Mixture.open(parse_mixture(text, registry, self.media, self.frames))

    def sizes(self, stages: Sequence[Stage]) -> dict[str, list[list[Any]]]:
        """What the data was when a run began: name and bytes of each file, by stage."""
        return {
            stage.name: [
                [str(dataset.entry.path), dataset.entry.path.stat().st_size, dataset.entry.factor]
                for dataset in self.open(stage).datasets
            ]
            for stage in stages
        }


def stage_encoder(vila: Vila, stage: Stage) -> SampleEncoder:
    """The encoder of a stage's samples."""
    length = min(stage.length, vila.context_length)
    return SampleEncoder(vila, version=stage.version, max_length=length)


def check_stage(
    vila: Vila, stage: Stage, request: DataRequest, say: Callable[[str], None], threads: int
) -> CheckReport:
    """Look through a stage's data and tell the user what is unfit."""
    mixture = request.open(stage)
    shown = 0

    def progress(done: int, total: int) -> None:
        nonlocal shown
        if done * 10 // max(total, 1) > shown and total > 2000:
            shown = done * 10 // total
            say(f"{stage.name}: {done} of {total} samples checked")

    encode = stage_encoder(vila, stage)
    report = check_mixture(mixture, request.filters, encode, threads, progress)
    for issue in report.issues[:SHOWN]:
        say(f"{issue.origin}: {issue.kind}: {issue.message}")
    if len(report.issues) > SHOWN:
        say(f"… and {len(report.issues) - SHOWN} more")
    say(summary(stage.name, report))
    return report


def summary(stage: str, report: CheckReport) -> str:
    """One line: how many samples, and how many are unfit, by kind."""
    line = f"{stage}: {report.samples} samples checked, {len(report.issues)} unfit"
    if report.issues:
        line += f" ({', '.join(f'{kind}: {count}' for kind, count in report.counts.items())})"
    return line + (f", {len(report.filtered)} filtered out" if report.filtered else "")


def prepare_data(
    vila: Vila,
    stages: Sequence[Stage],
    request: DataRequest,
    folder: RunFolder,
    say: Callable[[str], None],
    threads: int,
) -> None:
    """Check the data of all stages once in a run, and keep what to leave out in its folder.

    Raises InvalidRequest when something is unfit and the user wants that refused.
    """
    if folder.recall("data") is not None:
        return
    kept: dict[str, Any] = {}
    unfit = 0
    for stage in stages:
        report = check_stage(vila, stage, request, say, threads) if request.check else None
        refused = report.refused if report else {}
        unfit += len(report.issues) if report else 0
        kept[stage.name] = {str(number): list(indices) for number, indices in refused.items()}
    if unfit and request.on_error == "refuse":
        raise InvalidRequest(
            f"{unfit} samples are unfit for training; mend them, or leave them out by "
            "--on-error skip"
        )
    folder.remember("data", kept)


def open_stage(
    stage: Stage, request: DataRequest, folder: RunFolder
) -> tuple[Mixture, Mixture, tuple[DataNote, ...]]:
    """To train on, to score on, and what to say of both; after prepare_data."""
    kept = (folder.recall("data") or {}).get(stage.name, {})
    refused = {int(number): indices for number, indices in kept.items()}
    whole = request.open(stage)
    training, scoring = whole.without(refused).split(request.held_out)
    notes = tuple(
        DataNote(d.entry.name, len(indices), d.entry.factor, len(refused.get(number, ())))
        for number, (d, indices) in enumerate(zip(whole.datasets, training.kept, strict=True))
    )
    return training, scoring, notes
