# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of one stage.

A step reads `stage.batch` samples over all processes, whatever their number, and divides by the
labels of all of them; so one process and many take the same step, and a step depends on its number
and the seed alone, never on what was run before in the same process.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from vila_ros.errors import InvalidRequest, OutOfMemory, VilaError
from vila_ros.training.data import (
    MediaSource,
    Packing,
    SampleOrder,
    StepData,
    TrainingData,
    read_steps,
)
from vila_ros.training.encoding import EncodedExample
from vila_ros.training.journal import Journal, StepReport
from vila_ros.training.model import TrainingBatch, VilaForTraining
from vila_ros.training.packing import collate, single
from vila_ros.training.processes import Processes
from vila_ros.training.run_folder import Progress, RunFolder, SavedState
from vila_ros.training.stages import Stage


@dataclass(frozen=True)
class LoopSettings:
    """How a stage is run; none of it but seed, packing and max_steps changes what is learnt.

    save_every: steps between two saved states. max_steps: to stop early, 0 for all. threads: that
    read media.
    """

    seed: int = 0
    packing: Packing = field(default_factory=Packing)
    save_every: int = 100
    max_steps: int = 0
    threads: int = 2


class Interrupted(VilaError):
    """The user ended the run; its state was saved."""


class Interruption:
    """Whether the user asked to stop; set by a signal handler, read between two steps."""

    def __init__(self) -> None:
        self.asked = False


def train_stage(
    model: VilaForTraining,
    data: TrainingData,
    media: MediaSource,
    stage: Stage,
    settings: LoopSettings,
    processes: Processes,
    journal: Journal,
    folder: RunFolder,
    interruption: Interruption | None = None,
) -> tuple[Progress, dict[str, torch.Tensor]]:
    """Run a stage to its end, from its newest saved state if there is one.

    Returns how it went, and the tuned parameters by name (whole on the first process, where they
    are needed). Raises Interrupted, OutOfMemory, and InvalidRequest when the loss is no number.
    """
    if len(data) == 0:
        raise InvalidRequest(f"stage {stage.name}: no samples to train on")
    steps = stage.steps(len(data))
    steps = min(steps, settings.max_steps) if settings.max_steps else steps
    wrapped = processes.wrap(model)
    optimizer = torch.optim.AdamW(
        [p for p in wrapped.parameters() if p.requires_grad],
        lr=stage.learning_rate,
        weight_decay=stage.weight_decay,
    )
    progress = _restore(folder, stage, processes, optimizer)
    if processes.first:
        journal.begin(stage.name, progress.step)
    order = SampleOrder(len(data), stage.batch, stage.epochs, settings.seed)
    pending = read_steps(
        data,
        media,
        stage,
        order,
        settings.packing,
        range(progress.step, steps),
        rank=processes.rank,
        world=processes.world,
        threads=settings.threads,
    )
    started = time.monotonic()
    for step_data in pending:
        # Dropout is drawn anew for each step from its number, so a resumed run draws the same.
        drawn = np.random.SeedSequence([settings.seed, step_data.step, processes.rank])
        torch.manual_seed(int(drawn.generate_state(1)[0]))
        rate = stage.rate(step_data.step, steps)
        sums, norm = _step(wrapped, optimizer, step_data, rate, stage, processes, interruption)
        # Waiting for data and for the disk counts, since a user waits for them as well.
        seconds, started = time.monotonic() - started, time.monotonic()
        progress = _advance(progress, step_data.step, sums, seconds, stage)
        if processes.first:
            journal.step(
                StepReport(
                    stage.name,
                    step_data.step,
                    steps,
                    progress.loss,
                    rate,
                    norm,
                    int(sums.rows),
                    progress.samples,
                    seconds,
                )
            )
        done = progress.step == steps
        if sums.stop or (progress.step % settings.save_every == 0 and not done) or done:
            _save(folder, stage, processes, optimizer, progress)
        if sums.stop and not done:
            raise Interrupted(
                f"stopped after step {progress.step} of {steps}; the same command goes on there"
            )
    journal.close()
    learnt = processes.learnt_state()
    processes.release()
    return progress, learnt


@dataclass(frozen=True)
class _Sums:
    """Over all processes: loss (a sum), learnt labels, samples, rows; stop: any was asked to."""

    total: float
    learnt: float
    samples: float
    rows: float
    stop: bool


def _step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    data: StepData,
    rate: float,
    stage: Stage,
    processes: Processes,
    interruption: Interruption | None,
) -> tuple[_Sums, float]:
    """One optimizer step."""
    asked = float(interruption is not None and interruption.asked)
    told = processes.gather([data.learnt, data.samples, data.rows, len(data.batches), asked])
    learnt, samples, rows, _, stops = (sum(column) for column in zip(*told, strict=True))
    # Every process computes as many batches as the one that has most, or the others would wait.
    batches = list(data.batches)
    batches += [_empty_batch()] * (int(max(row[3] for row in told)) - len(batches))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    try:
        for number, batch in enumerate(batches, start=1):
            with processes.computing(synchronize=number == len(batches)):
                output = model(batch.to(processes.device))
                # Gradients are averaged over processes; together they are those of the mean loss.
                (output.total * (processes.world / max(learnt, 1.0))).backward()
            total += float(output.total.detach())
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"stage {stage.name}: a batch of {tuple(batch.rows.ids.shape)} rows does not fit into "
            f"memory ({str(error).split('.')[0]}); use fewer sequences a forward, a smaller "
            "length, gradient checkpointing, LoRA, or --fsdp on several GPUs"
        ) from error
    limit = stage.clip if stage.clip > 0 else math.inf
    norm = torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], limit)
    norm_value = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
    loss = sum(row[0] for row in processes.gather([total]))
    if not math.isfinite(loss) or not math.isfinite(norm_value):
        raise InvalidRequest(
            f"stage {stage.name}: the loss of step {data.step + 1} is {loss:g} with a gradient of "
            f"norm {norm_value:g} at learning rate {rate:.2e}; use a smaller one, or float32"
        )
    optimizer.step()
    return _Sums(loss, learnt, samples, rows, stops > 0), norm_value


def _advance(progress: Progress, step: int, sums: _Sums, seconds: float, stage: Stage) -> Progress:
    loss = sums.total / max(sums.learnt, 1.0)
    return replace(
        progress,
        step=step + 1,
        samples=progress.samples + int(sums.samples),
        rows=progress.rows + int(sums.rows),
        learnt=progress.learnt + int(sums.learnt),
        seconds=progress.seconds + seconds,
        loss=loss,
        first_loss=loss if step == 0 else progress.first_loss,
    )


def _restore(
    folder: RunFolder, stage: Stage, processes: Processes, optimizer: torch.optim.Optimizer
) -> Progress:
    state = folder.load(stage.name)
    if state is None:
        return Progress()
    processes.load_learnt_state(state.model)
    processes.load_optimizer_state(optimizer, state.optimizer)
    return state.progress


def _save(
    folder: RunFolder,
    stage: Stage,
    processes: Processes,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """All processes gather, the first writes, none goes on before it is written."""
    model, state = processes.learnt_state(), processes.optimizer_state(optimizer)
    if processes.first:
        folder.save(stage.name, SavedState(progress, model, state))
    processes.wait()


def _empty_batch() -> TrainingBatch:
    """Nothing to learn, for a process that has computed all that it has."""
    nothing = torch.zeros(2, dtype=torch.int64).numpy()
    return TrainingBatch(collate([[single(EncodedExample(nothing, nothing - 100))]]))
