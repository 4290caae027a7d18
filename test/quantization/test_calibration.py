# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which images calibrate a model, and what it sees of them."""

import pytest

from vila_ros.errors import InvalidImage, InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.quantization.calibration import (
    QUESTIONS,
    Sample,
    embeddings_of,
    read_samples,
)


def test_samples_are_spread_over_the_folder_and_each_has_a_question(pictures):
    samples = read_samples(pictures, most=2)

    assert [sample.image.name for sample in samples] == ["0.png", "2.png"]
    assert [sample.question for sample in samples] == list(QUESTIONS[:2])


def test_a_text_beside_an_image_is_its_question_and_answer(pictures):
    samples = read_samples(pictures)

    assert (samples[1].question, samples[1].answer) == ("How dark is it?", "Rather dark.")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")

    with pytest.raises(InvalidRequest, match="holds no images"):
        read_samples(tmp_path)


def test_what_the_model_sees_are_the_images_rows_and_the_question(small, pictures):
    vila = load_vila(small)
    shown, other = read_samples(pictures)[2:]

    (seen,) = embeddings_of(vila, [shown])
    (unlike,) = embeddings_of(vila, [Sample(other.image, shown.question)])

    rows = vila.image_tokens(40, 60)
    changed = (seen != unlike).any(-1)[0].nonzero().flatten()
    assert seen.shape[-1] == 256
    assert changed.tolist() == list(range(int(changed[0]), int(changed[0]) + rows))


def test_a_broken_image_is_named(small, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")

    with pytest.raises(InvalidImage, match=r"broken\.png"):
        list(embeddings_of(load_vila(small), read_samples(tmp_path)))
