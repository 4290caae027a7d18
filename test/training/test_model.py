# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The module that learns: the reference's loss, gradients where they belong, cached features."""

import numpy as np
import pytest
import torch

from test.model.conftest import VILA15
from test.training.conftest import dialogue, png
from vila_ros.errors import InvalidRequest
from vila_ros.model.interleave import IGNORE_LABEL
from vila_ros.model.vila import Vila
from vila_ros.training.encoding import (
    MEDIA_ID,
    EncodedExample,
    MediaSlot,
    SampleEncoder,
)
from vila_ros.training.media import MediaReader
from vila_ros.training.model import MediaInput, TrainingBatch, VilaForTraining
from vila_ros.training.packing import collate, single
from vila_ros.training.stages import PARTS


def golden_batch() -> tuple[TrainingBatch, dict[str, torch.Tensor]]:
    """The reference's padded batch: one image, two images, text alone."""
    with np.load(VILA15 / "batch_labels.npz") as file:
        arrays = {name: file[name] for name in file.files}
    sequences = []
    for ids, labels, kept in zip(
        arrays["input_ids"], arrays["labels"], arrays["attention_mask"], strict=True
    ):
        ids, labels = ids[kept], labels[kept]
        counts = np.where(ids == -200, 9, 1)
        starts = np.cumsum(counts) - counts
        slots = tuple(MediaSlot(png(), int(at), 9, 9) for at in starts[ids == -200])
        rows = np.repeat(np.where(ids == -200, MEDIA_ID, ids), counts)
        targets = np.repeat(np.where(ids == -200, IGNORE_LABEL, labels), counts)
        sequences.append([single(EncodedExample(rows, targets, slots))])
    pixels = torch.from_numpy(arrays["pixel_values"])
    media = tuple(MediaInput(pixels=image[None]) for image in pixels)
    return TrainingBatch(collate(sequences), media), {
        name: torch.from_numpy(array) for name, array in arrays.items()
    }


def test_the_reference_batch_gives_the_reference_loss(vila15: Vila):
    batch, golden = golden_batch()
    model = VilaForTraining(vila15).eval()
    rows = batch.rows
    mask = golden["merged_attention_mask"]
    assert torch.equal(rows.example >= 0, mask)
    assert torch.equal(rows.labels, golden["merged_labels"])
    assert torch.equal(rows.positions, golden["merged_position_ids"])
    with torch.no_grad():
        embeddings = model.embed(batch)
        output = model(batch)
    assert (embeddings - golden["inputs_embeds"])[mask].abs().max() < 1e-4
    assert abs(float(output.loss) - float(golden["loss"])) < 1e-4
    assert int(output.learnt) == 18
    # Each row's last six tokens are learnt; the logits that predict the last three of them are
    # the first three of the reference's last four.
    mine = output.logits.view(3, 6, -1)[:, -3:]
    assert (mine - golden["logits_last_valid"][:, :3]).abs().max() < 1e-4


def batch_of(vila: Vila) -> TrainingBatch:
    encode = SampleEncoder(vila)
    samples = [
        dialogue((png(), "What is ahead?"), "A car."),
        dialogue("Who are you?", "A robot."),
    ]
    return MediaReader(vila.image_processor).batch([[single(encode(s))] for s in samples])


def gradients(model: VilaForTraining, batch: TrainingBatch) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(batch).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("part", PARTS)
def test_gradients_reach_the_tuned_part_alone(any_vila: Vila, part):
    found = gradients(VilaForTraining(any_vila, [part]), batch_of(any_vila))
    assert found
    assert all(name.startswith(part) for name in found)
    assert any(gradient.abs().max() > 0 for gradient in found.values())


def test_recomputed_activations_give_the_same_gradients(any_vila: Vila):
    batch = batch_of(any_vila)
    kept = gradients(VilaForTraining(any_vila), batch)
    again = gradients(VilaForTraining(any_vila, gradient_checkpointing=True), batch)
    assert kept.keys() == again.keys()
    assert all(torch.allclose(kept[name], again[name], atol=1e-6) for name in kept)


def test_given_features_stand_for_pixels_while_the_tower_is_frozen(any_vila: Vila):
    batch = batch_of(any_vila)
    model = VilaForTraining(any_vila, ["projector"])
    (features,) = model.see(batch.media)
    given = MediaInput(features=features, grid=batch.media[0].grid)
    cached = TrainingBatch(batch.rows, (given,))
    assert torch.allclose(model(cached).loss, model(batch).loss)
    model.tune(PARTS)
    with pytest.raises(InvalidRequest, match="give pixels"):
        model(cached)


def test_a_batch_without_media_still_runs_every_part_when_asked(any_vila: Vila):
    encode = SampleEncoder(any_vila)
    text = MediaReader(any_vila.image_processor).batch(
        [[single(encode(dialogue("Who are you?", "A robot.")))]]
    )
    plain, uniform = VilaForTraining(any_vila), VilaForTraining(any_vila, uniform=True)
    assert torch.equal(plain(text).loss, uniform(text).loss)
    found = gradients(uniform, text)
    assert len(found) == len(list(uniform.parameters()))


def test_media_must_fit_their_rows(vila15: Vila):
    batch = batch_of(vila15)
    with pytest.raises(InvalidRequest, match="was given 0 media"):
        VilaForTraining(vila15)(TrainingBatch(batch.rows))
    both = MediaInput(batch.media[0].pixels, torch.zeros(1, 25, 32))
    with pytest.raises(InvalidRequest, match="one of both"):
        VilaForTraining(vila15, ["projector"])(TrainingBatch(batch.rows, (both,)))
    with pytest.raises(InvalidRequest, match="is no part"):
        VilaForTraining(vila15, ["tower"])  # type: ignore[list-item]
