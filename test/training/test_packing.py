# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Packing: what is computed for packed examples is what is computed for each alone."""

import pytest
import torch

from test.training.conftest import dialogue, document, png
from vila_ros.datasets.types import Sample
from vila_ros.errors import InvalidRequest
from vila_ros.model.vila import Vila
from vila_ros.training.encoding import SampleEncoder
from vila_ros.training.media import MediaReader
from vila_ros.training.model import VilaForTraining
from vila_ros.training.packing import Group, attention_bounds, collate, pack, share_prefix, single

IMAGE, OTHER = png(seed=1), png(seed=2)
SAMPLES = [
    dialogue((IMAGE, "What is ahead?"), "A car."),
    dialogue("Who are you?", "A robot.", "Whose?", "Nobody's."),
    document("Text before ", OTHER, " and behind."),
]
QUESTIONS = [
    dialogue((IMAGE, OTHER, "What is ahead?"), "A car."),
    dialogue((IMAGE, OTHER, "What colour is it?"), "Blue, and a little green."),
    dialogue((IMAGE, OTHER, "What colour is it?"), "Red."),
]


def logits(vila: Vila, sequences: list[list[Group]]) -> tuple[torch.Tensor, float]:
    model = VilaForTraining(vila).eval()
    with torch.no_grad():
        output = model(MediaReader(vila.image_processor).batch(sequences))
    return output.logits, float(output.total)


def alone(vila: Vila, samples: list[Sample]) -> tuple[torch.Tensor, float]:
    encode = SampleEncoder(vila)
    parts = [logits(vila, [[single(encode(sample))]]) for sample in samples]
    return torch.cat([part for part, _ in parts]), sum(total for _, total in parts)


def test_packed_examples_are_computed_as_alone(any_vila: Vila):
    encode = SampleEncoder(any_vila)
    groups = [single(encode(sample)) for sample in SAMPLES]
    packed, total = logits(any_vila, [[groups[0], groups[1]], [groups[2]]])
    expected, loss = alone(any_vila, SAMPLES)
    assert torch.allclose(packed, expected, atol=1e-4)
    assert total == pytest.approx(loss, abs=1e-3)


def test_questions_on_the_same_images_share_them(any_vila: Vila):
    encode = SampleEncoder(any_vila)
    examples = [encode(sample) for sample in QUESTIONS]
    group = share_prefix(examples)
    assert len(group.slots) == 2, "the images go through the model once"
    assert len(group) < sum(map(len, examples)) - 2 * group.slots[1].rows
    packed, total = logits(any_vila, [[single(encode(SAMPLES[1])), group]])
    expected, loss = alone(any_vila, [SAMPLES[1], *QUESTIONS])
    assert torch.allclose(packed, expected, atol=1e-4)
    assert total == pytest.approx(loss, abs=1e-3)


def test_gradients_of_packed_examples_are_those_of_single_ones(vila15: Vila):
    encode = SampleEncoder(vila15)
    read = MediaReader(vila15.image_processor)
    model = VilaForTraining(vila15)
    model(read.batch([[share_prefix([encode(q) for q in QUESTIONS])]])).total.backward()
    packed = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    for question in QUESTIONS:
        model(read.batch([[single(encode(question))]])).total.backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(packed[name], parameter.grad, rtol=1e-3, atol=1e-4), name


def test_equal_questions_keep_their_labels_apart(vila15: Vila):
    same = SampleEncoder(vila15)(QUESTIONS[0])
    group = share_prefix([same, same])
    assert group.learnt == 2 * same.learnt
    assert group.examples == 2


def test_other_images_are_not_shared(vila15: Vila):
    encode = SampleEncoder(vila15)
    group = share_prefix([encode(dialogue((image, "What?"), "That.")) for image in (IMAGE, OTHER)])
    assert len(group.slots) == 2
    assert (group.branch[group.slots[0].start : group.slots[0].start + 9] == 1).all()


def test_bounds_are_as_drawn():
    example = torch.tensor([[0, 0, 0, 0, 1, 1, -1]])
    branch = torch.tensor([[0, 1, 2, 2, 0, 0, 0]])
    drawn = """
        X......
        XX.....
        X.X....
        X.XX...
        ....X..
        ....XX.
        ......X
    """
    seen = attention_bounds(example, branch)[0, 0]
    assert ["".join(".X"[int(s)] for s in row) for row in seen] == drawn.split()


def test_groups_go_where_there_is_room(vila15: Vila):
    group = single(SampleEncoder(vila15)(SAMPLES[0]))
    size = len(group)
    sequences = pack([group] * 5, 2 * size + 1)
    assert [len(s) for s in sequences] == [2, 2, 1]
    rows = collate(sequences)
    assert rows.ids.shape == (3, 2 * size)
    assert rows.slots[1].start == rows.slots[0].start + size
    assert collate(sequences, 200).ids.shape == (3, 200)
    with pytest.raises(InvalidRequest, match=f"{size} rows do not fit"):
        pack([group], size - 1)
    with pytest.raises(InvalidRequest, match="do not make a batch"):
        collate(sequences, size)
