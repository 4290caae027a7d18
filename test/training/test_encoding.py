# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples as rows: laid out as at inference, with answers (or a document's text) as labels."""

import numpy as np
import pytest
import torch

from test.training.conftest import dialogue, document, png
from vila_ros.datasets.reading.pictures import read_picture
from vila_ros.datasets.types import ClipSource, Sample, SampleTurn
from vila_ros.engine.interface import ImagePart, Message, TextPart, VideoPart
from vila_ros.errors import InvalidRequest, PromptTooLong
from vila_ros.model.conversation import find_template
from vila_ros.model.interleave import IGNORE_LABEL
from vila_ros.model.vila import Vila
from vila_ros.training.encoding import MEDIA_ID, EncodedExample, SampleEncoder
from vila_ros.training.media import MediaReader
from vila_ros.training.model import VilaForTraining
from vila_ros.training.packing import single


def learnt_text(vila: Vila, example: EncodedExample) -> str:
    return vila.tokenizer.decode(example.labels[example.labels != IGNORE_LABEL].tolist())


def embed(vila: Vila, sample: Sample) -> torch.Tensor:
    batch = MediaReader(vila.image_processor).batch([[single(SampleEncoder(vila)(sample))]])
    with torch.no_grad():
        return VilaForTraining(vila).embed(batch)[0]


def test_a_question_is_laid_out_as_at_inference(any_vila: Vila):
    image = png(60, 130)
    sample = dialogue((image, "What is ahead?"), "A car.")
    asked = Message("user", (ImagePart(read_picture(image)), TextPart("What is ahead?")))
    prompt = any_vila.embed_prompt(any_vila.render([asked]))
    trained = embed(any_vila, sample)
    assert torch.allclose(trained[: len(prompt)], prompt, atol=1e-5)
    example = SampleEncoder(any_vila)(sample)
    first = int((example.labels != IGNORE_LABEL).nonzero()[0][0])
    assert first == len(prompt), "the answer is learnt from its first token"
    assert learnt_text(any_vila, example).strip().startswith("A car.")


def test_images_among_text_and_clips_are_laid_out_as_at_inference(any_vila: Vila):
    one, frames = png(seed=1), tuple(png(seed=seed) for seed in range(2, 7))
    clip = ClipSource(frames=frames)
    sample = dialogue(("Look ", one, " and then ", clip, " What moved?"), "It did.")
    parts = (
        TextPart("Look "),
        ImagePart(read_picture(one)),
        TextPart(" and then "),
        VideoPart(tuple(map(read_picture, frames))),
        TextPart(" What moved?"),
    )
    prompt = any_vila.embed_prompt(any_vila.render([Message("user", parts)]))
    assert torch.allclose(embed(any_vila, sample)[: len(prompt)], prompt, atol=1e-5)


@pytest.mark.parametrize("template", ["vicuna_v1", "llama_3", "hermes-2", "qwen2"])
def test_answers_and_the_token_that_ends_them_are_learnt(tiny: Vila, template: str):
    sample = dialogue("Is it red?", "No, blue.", "And this?", "Red.", system="Be brief.")
    example = SampleEncoder(tiny, version=template)(sample)
    stop = find_template(template, tiny.tokenizer).stop_strings[0]
    assert learnt_text(tiny, example).replace(" ", "") == f"No,blue.{stop}Red.{stop}"
    told = example.labels != IGNORE_LABEL
    assert (example.labels[told] == example.ids[told]).all()


def test_answers_of_a_tokenizers_own_template_are_learnt(nvila: Vila):
    example = SampleEncoder(nvila)(dialogue((png(), "Red?"), "No.", "This?", "Red."))
    assert learnt_text(nvila, example).count("<|im_end|>") == 2
    assert learnt_text(nvila, example).startswith("No.")
    assert "This?" not in learnt_text(nvila, example)


def test_of_a_document_all_text_is_learnt(vila15: Vila):
    example = SampleEncoder(vila15)(document("A door.", png(), "It opens.", png(seed=1)))
    assert len(example.slots) == 2
    assert learnt_text(vila15, example).endswith("</s>")
    ids = example.ids
    unlearnt = set(ids[example.labels == IGNORE_LABEL].tolist())
    assert unlearnt == {MEDIA_ID, vila15.tokenizer.bos_token_id}


def test_plain_leaves_questions_out(vila15: Vila):
    example = SampleEncoder(vila15, version="plain")(dialogue((png(), "Describe."), "A wall."))
    text = vila15.tokenizer.decode(example.ids[example.ids != MEDIA_ID].tolist())
    assert "Describe" not in text
    assert learnt_text(vila15, example).endswith("A wall.\n")


def test_a_long_sample_is_cut_but_no_image_is(vila15: Vila):
    sample = document("word " * 10, png(), "tail " * 10)
    whole = SampleEncoder(vila15)(sample)
    start = whole.slots[0].start
    cut = SampleEncoder(vila15, max_length=start + 4)(sample)
    assert len(cut) == start
    assert not cut.slots
    assert (cut.ids == whole.ids[:start]).all()
    kept = SampleEncoder(vila15, max_length=start + 9)(sample)
    assert len(kept.slots) == 1
    with pytest.raises(PromptTooLong, match="first 20"):
        SampleEncoder(vila15, max_length=20)(dialogue((png(), "What?"), "That."))


@pytest.mark.parametrize(
    ("turns", "complaint"),
    [
        ((), "without turns"),
        ((SampleTurn("user", ("Hello",)),), "last turn is the user's"),
        ((SampleTurn("assistant", ("Hello",)),), "alternating"),
        ((SampleTurn("user", ("a",)), SampleTurn("text", ("b",)), SampleTurn("assistant", ("c",))),
         "role text"),
        ((SampleTurn("text", (png(),)),), "role text is empty"),
        ((SampleTurn("user", ("a",)), SampleTurn("assistant", (" ",))), "role assistant is empty"),
    ],
)  # fmt: skip
def test_a_sample_that_cannot_be_learnt_is_refused(vila15: Vila, turns, complaint: str):
    with pytest.raises(InvalidRequest, match=complaint):
        SampleEncoder(vila15)(Sample("x", turns))


def test_an_unknown_version_is_refused(vila15: Vila):
    with pytest.raises(InvalidRequest, match="vicuna_v1"):
        SampleEncoder(vila15, version="v0")


def test_rows_of_slots_are_counted_as_at_inference(any_vila: Vila):
    image = png(70, 150)
    example = SampleEncoder(any_vila)(dialogue((image, "What?"), "That."))
    (slot,) = example.slots
    assert slot.length == any_vila.image_tokens(70, 150, slot.tiled)
    inside = example.ids[slot.start : slot.start + slot.length]
    assert int(np.sum(inside == MEDIA_ID)) == slot.rows
