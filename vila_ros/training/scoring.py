# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a model does on samples that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vila_ros.model.interleave import IGNORE_LABEL
from vila_ros.training.data import MediaSource, TrainingData
from vila_ros.training.model import TrainingBatch, VilaForTraining
from vila_ros.training.packing import Group, collate


@dataclass(frozen=True)
class Scores:
    """loss: mean cross entropy of a label. tokens: the part of labels that are the likeliest
    token. answers: the part of samples whose labels all are: greedy generation gives them word by
    word. samples: how many were scored."""

    loss: float
    tokens: float
    answers: float
    samples: int


@torch.no_grad()
def score(
    model: VilaForTraining,
    data: TrainingData,
    media: MediaSource,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    most: int = 1000,
) -> Scores:
    """Score up to `most` groups, evenly spread."""
    was_training = model.training
    model.eval()
    picked = torch.linspace(0, len(data) - 1, min(most, len(data))).round().long().unique()
    total, labels, right, exact, samples = 0.0, 0, 0, 0, 0
    for index in picked.tolist():
        group = data.group(index)
        rows = collate([[group]])
        batch = TrainingBatch(rows, tuple(map(media, rows.slots))).to(device)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            output = model(batch)
        wanted = batch.rows.labels[:, 1:]
        places = wanted != IGNORE_LABEL
        hits = output.logits.argmax(-1) == wanted[places]
        owners = batch.rows.branch[:, 1:][places]
        total += float(output.total)
        labels += len(hits)
        right += int(hits.sum())
        exact += sum(bool(hits[owners == owner].all()) for owner in owners.unique())
        samples += _answers(group)
    model.train(was_training)
    return Scores(total / max(labels, 1), right / max(labels, 1), exact / max(samples, 1), samples)


def _answers(group: Group) -> int:
    return len(set(group.branch[group.labels != IGNORE_LABEL].tolist()))
