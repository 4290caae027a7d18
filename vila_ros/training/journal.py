# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a run goes, for people: lines on the terminal and TensorBoard's curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StepReport:
    """One step. loss: mean of its labels. rate: learning rate. seconds: of this step; rows: of
    the language model's input in it, over all processes; samples: seen since the stage began.
    norm: of the gradient before it was clipped."""

    stage: str
    step: int
    steps: int
    loss: float
    rate: float
    norm: float
    rows: int
    samples: int
    seconds: float


class Journal:
    """Writes steps. say: a line for people. every: steps between two lines."""

    def __init__(self, say: Callable[[str], None], every: int = 10, logs: Path | None = None):
        self.say = say
        self._every = every
        self._logs = logs
        self._writer: Any = None
        self._seconds: list[tuple[float, int]] = []

    def begin(self, stage: str, step: int) -> None:
        """A stage begins at a step; later entries of a former attempt are taken back."""
        self.close()
        self._seconds = []
        if self._logs is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say("TensorBoard is not installed, so no curves are kept: pip install tensorboard")
            return
        self._writer = SummaryWriter(str(self._logs / stage), purge_step=step)

    def step(self, report: StepReport) -> None:
        """One step was made."""
        rate = report.rows / max(report.seconds, 1e-9)
        if self._writer is not None:
            for name, value in (
                ("loss", report.loss),
                ("learning_rate", report.rate),
                ("tokens_per_second", rate),
                ("samples", report.samples),
                ("gradient_norm", report.norm),
            ):
                self._writer.add_scalar(f"train/{name}", value, report.step)
        self._seconds.append((report.seconds, report.rows))
        last = report.step + 1 == report.steps
        if (report.step + 1) % self._every and not last and report.step:
            return
        spent = sum(seconds for seconds, _ in self._seconds)
        rows = sum(rows for _, rows in self._seconds)
        left = (report.steps - report.step - 1) * spent / len(self._seconds)
        self._seconds = []
        width = len(str(report.steps))
        self.say(
            f"{report.stage}  step {report.step + 1:>{width}}/{report.steps}  loss "
            f"{report.loss:.4f}  rate {report.rate:.2e}  {rows / max(spent, 1e-9):,.0f} tokens/s  "
            f"{report.samples} samples  {duration(left)} left"
        )

    def close(self) -> None:
        """Flush what is open."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def duration(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
