# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run keeps on disk so that it goes on after a kill, a crash or a power cut.

`OUT.training/` stands beside the result and is removed when that is complete:

    run.json                 the settings; another run may not go on here
    data.json                what the check of the data left out
    logs/                    TensorBoard
    <stage>/state-000100/    after 100 steps: learnt tensors, the optimizer's, progress.json
    <stage>/model/           the checkpoint that the stage made

Everything is written under a name ending in .part, flushed to the disk, and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vila_ros.errors import InvalidRequest

PART = ".part"


@dataclass(frozen=True)
class Progress:
    """How far a stage is. step: optimizer steps done. seconds: of training, over all attempts.

    loss: of the last step; first_loss: of the first. rows: of the language model's input.
    """

    step: int = 0
    samples: int = 0
    rows: int = 0
    learnt: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    first_loss: float = 0.0


@dataclass(frozen=True, eq=False)
class SavedState:
    """What is needed to go on after a step."""

    progress: Progress
    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, Any]


class RunFolder:
    """The folder of one run. settings: JSON values that decide the result."""

    def __init__(self, out: Path, settings: Mapping[str, Any]):
        self.out = out
        self.path = out.with_name(out.name + ".training")
        self._settings = json.loads(json.dumps(settings))

    @property
    def logs(self) -> Path:
        """For TensorBoard."""
        return self.path / "logs"

    def open(self) -> bool:
        """Make the folder, or go on in it; True when there was a run to go on with.

        Raises InvalidRequest when it is that of a run with other settings, unless that run had not
        learnt anything yet, and when it holds files but no run.
        """
        run = self.path / "run.json"
        self._check_own(run)
        other = self._differences(run)
        begun = any(self.path.glob("*/state-*[0-9]")) or any(self.path.glob("*/model"))
        if other is None or (other and not begun):
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir(parents=True)
            write_text(run, json.dumps(self._settings, indent=2))
            return False
        if other:
            found = json.loads(run.read_text())
            was, now = found.get(other[0]), self._settings.get(other[0])
            raise InvalidRequest(
                f"{self.path} holds an unfinished run with {other[0]} {was!r}, not {now!r}; go on "
                "with its settings, choose another --out, or delete that folder"
            )
        return begun

    def _check_own(self, run: Path) -> None:
        """Raise InvalidRequest for what no run has made: it is somebody's and stays."""
        if run.is_file() or not self.path.exists():
            return
        # A run that was killed at its very beginning leaves nothing but a part of its settings.
        begun = run.with_name(run.name + PART)
        if not self.path.is_dir() or any(each != begun for each in self.path.iterdir()):
            raise InvalidRequest(
                f"{self.path}, where a run keeps what it needs to go on, is there already and not "
                "of a run; choose another --out, or move it away"
            )

    def _differences(self, run: Path) -> list[str] | None:
        """The settings in which the run of a file differs; None if there is no run."""
        if not run.is_file():
            return None
        found = json.loads(run.read_text())
        keys = sorted(set(found) | set(self._settings))
        return [key for key in keys if found.get(key) != self._settings.get(key)]

    def stage_model(self, stage: str) -> Path:
        """Where a stage's checkpoint stands when the stage is complete."""
        return self.path / stage / "model"

    def save(self, stage: str, state: SavedState) -> None:
        """Keep a state; the one before it is removed afterwards."""
        from safetensors.torch import save_file

        folder = self.path / stage
        final = folder / f"state-{state.progress.step:08d}"
        part = final.with_name(final.name + PART)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        tensors = {name: tensor.contiguous() for name, tensor in state.model.items()}
        save_file(tensors, part / "model.safetensors")
        torch.save(dict(state.optimizer), part / "optimizer.pt")
        write_text(part / "progress.json", json.dumps(asdict(state.progress)))
        for file in part.iterdir():
            flush(file)
        shutil.rmtree(final, ignore_errors=True)
        part.replace(final)
        flush(folder)
        for old in self._states(stage)[:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def load(self, stage: str) -> SavedState | None:
        """The newest state of a stage; None if it has not begun."""
        from safetensors.torch import load_file

        states = self._states(stage)
        if not states:
            return None
        newest = states[-1]
        try:
            progress = Progress(**json.loads((newest / "progress.json").read_text()))
            model = load_file(newest / "model.safetensors")
            optimizer = torch.load(newest / "optimizer.pt", weights_only=True, map_location="cpu")
        except Exception as error:
            # safetensors, torch and json each raise types of their own for a damaged file.
            raise InvalidRequest(
                f"{newest} is damaged ({error}); delete it to begin the stage again"
            ) from error
        return SavedState(progress, model, optimizer)

    def slim(self, stage: str) -> None:
        """Keep of a complete stage's state how it went alone."""
        for state in self._states(stage):
            for name in ("optimizer.pt", "model.safetensors"):
                (state / name).unlink(missing_ok=True)

    def progress(self, stage: str) -> Progress | None:
        """How far a stage has come, from its newest state alone."""
        states = self._states(stage)
        if not states:
            return None
        return Progress(**json.loads((states[-1] / "progress.json").read_text()))

    def remember(self, name: str, values: Mapping[str, Any]) -> None:
        """Keep JSON values for the next attempt."""
        write_text(self.path / f"{name}.json", json.dumps(values))

    def recall(self, name: str) -> dict[str, Any] | None:
        """What was kept; None if there is nothing."""
        path = self.path / f"{name}.json"
        return json.loads(path.read_text()) if path.is_file() else None

    def remove(self) -> None:
        """The run is complete."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _states(self, stage: str) -> list[Path]:
        found = (self.path / stage).glob("state-*")
        return sorted(path for path in found if not path.name.endswith(PART))


def write_text(path: Path, text: str) -> None:
    """A whole file or none."""
    part = path.with_name(path.name + PART)
    part.write_text(text, encoding="utf-8")
    flush(part)
    part.replace(path)


def flush(path: Path) -> None:
    """To the disk, that a power cut does not undo a rename's promise."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
