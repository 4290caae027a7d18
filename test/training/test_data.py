# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The order of samples, how they are shared out, and the scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from test.training.conftest import dialogue, png
from vila_ros.errors import InvalidRequest
from vila_ros.model.vila import Vila
from vila_ros.training.data import Packing, SampleOrder, read_steps
from vila_ros.training.encoding import SampleEncoder
from vila_ros.training.media import MediaReader
from vila_ros.training.model import VilaForTraining
from vila_ros.training.packing import Group, share_prefix, single
from vila_ros.training.scoring import score
from vila_ros.training.stages import FINE_TUNE

STAGE = FINE_TUNE.changed(batch=4, length=200)


class Groups(list):
    """Groups as TrainingData."""

    def group(self, index: int) -> Group:
        return self[index]


@pytest.fixture
def groups(vila15: Vila) -> Groups:
    encode = SampleEncoder(vila15)
    asked = [dialogue((png(seed=n), f"What is {n}?"), f"A {n}.") for n in range(5)]
    return Groups(single(encode(sample)) for sample in asked)


def test_an_epoch_reads_every_sample_once_and_each_in_another_order():
    order = SampleOrder(samples=10, batch=4, epochs=2, seed=1)
    read = [int(index) for step in range(5) for index in order.of_step(step)]
    assert sorted(read[:10]) == sorted(read[10:]) == list(range(10))
    assert read[:10] != read[10:]
    assert (order.of_step(3) == SampleOrder(10, 4, 2, 1).of_step(3)).all()
    assert (order.of_step(0) != replace(order, seed=2).of_step(0)).any()
    assert len(SampleOrder(10, 4, 1, 1).of_step(2)) == 2, "the last step takes what is left"


def test_processes_share_a_step(vila15: Vila, groups: Groups):
    order = SampleOrder(5, 4, 1, 0)
    read = MediaReader(vila15.image_processor)

    def steps(rank: int, world: int):
        return list(
            read_steps(groups, read, STAGE, order, Packing(), range(2), rank=rank, world=world)
        )

    whole, first, second = steps(0, 1), steps(0, 2), steps(1, 2)
    assert [step.samples for step in whole] == [4, 1]
    assert [step.samples for step in first] == [2, 1]
    assert [step.samples for step in second] == [2, 0]
    assert second[1].batches == ()
    assert whole[0].learnt == first[0].learnt + second[0].learnt


def test_packing_fills_sequences(groups: Groups):
    size = len(groups[0])
    packed = Packing(sequences=2).batches(groups, 2 * size)
    assert [[len(sequence) for sequence in batch] for batch in packed] == [[2, 2], [1]]
    alone = Packing(sequences=2, pack=False).batches(groups, 2 * size)
    assert [[len(sequence) for sequence in batch] for batch in alone] == [[1, 1], [1, 1], [1]]


def test_an_unreadable_picture_ends_the_reading(vila15: Vila, groups: Groups):
    order = SampleOrder(5, 4, 1, 0)

    def broken(slot):
        raise InvalidRequest("gone")

    with pytest.raises(InvalidRequest, match="gone"):
        list(read_steps(groups, broken, STAGE, order, Packing(), range(2)))


def test_scores_are_the_same_shared_or_alone(vila15: Vila):
    encode = SampleEncoder(vila15)
    image = png()
    examples = [encode(dialogue((image, f"What {n}?"), f"A {n}.")) for n in range(3)]
    model, read = VilaForTraining(vila15), MediaReader(vila15.image_processor)
    cpu = torch.device("cpu")
    shared = score(model, Groups([share_prefix(examples)]), read, cpu)
    alone = score(model, Groups(map(single, examples)), read, cpu)
    assert shared.samples == alone.samples == 3
    assert shared.loss == pytest.approx(alone.loss, abs=1e-4)
    assert (shared.tokens, shared.answers) == (alone.tokens, alone.answers)
    assert model.training


def test_a_model_that_always_says_the_answer_scores_full(vila15: Vila, monkeypatch):
    example = SampleEncoder(vila15)(dialogue((png(), "What?"), "A car."))
    targets = torch.from_numpy(np.array(example.labels[example.labels >= 0]))
    model = VilaForTraining(vila15)
    forward = model.forward

    def knowing(batch):
        output = forward(batch)
        logits = torch.nn.functional.one_hot(targets, output.logits.shape[1]).float()
        return output._replace(logits=logits)

    monkeypatch.setattr(model, "forward", knowing)
    read = MediaReader(vila15.image_processor)
    found = score(model, Groups([single(example)]), read, torch.device("cpu"))
    assert (found.tokens, found.answers) == (1.0, 1.0)
