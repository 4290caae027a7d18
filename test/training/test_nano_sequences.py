# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Many questions behind one picture are, to the model, as many conversations."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

pytest.importorskip("pybullet")

from vila_ros.engine.interface import ImagePart
from vila_ros.model.conversation import TEMPLATES, Turn
from vila_ros.model.interleave import MarkStyle, MediaSegment, lay_out_chunks, mark_media
from vila_ros.perception.prompt import write_messages
from vila_ros.perception.types import Frame, MessageKind
from vila_ros.simulation.renderer import Renderer
from vila_ros.simulation.scenes import clip_scene, draw_scene, still_scene
from vila_ros.simulation.shapes import KINDS, SHAPES
from vila_ros.training.nano.mixture import sequence_of
from vila_ros.training.nano.network import Network, language_config
from vila_ros.training.nano.sequences import (
    IGNORE,
    IMAGE_ID,
    IMAGE_ROWS,
    TEMPLATE,
    Packed,
    Writer,
    batch_of,
)
from vila_ros.training.nano.shards import SceneRecord
from vila_ros.training.nano.text import text_only
from vila_ros.training.nano.tokens import PAD_ID, learn_tokenizer, save_tokenizer

QUESTIONS = (
    ("Is there a car?", "yes"),
    ("What color is the car?", "red"),
    ("What is ahead?", "a red car"),
)


@pytest.fixture(scope="module")
def tokenizer():
    chance = np.random.default_rng(0)
    texts = [text for _ in range(200) for text in text_only(chance)]
    return learn_tokenizer([*texts, *(text for pair in QUESTIONS for text in pair)], 600)


class Steady:
    """Chance that always gives the same, so that the style of a prompt is known."""

    def __init__(self, number):
        self._number = number

    def random(self):
        return self._number

    def integers(self, *_):
        return 0


def test_a_sequence_is_laid_out_as_the_node_asks(tokenizer, tmp_path):
    from vila_ros.model.tokenizer import load_tokenizer

    save_tokenizer(tokenizer, tmp_path)
    loaded = load_tokenizer(tmp_path, "vila1.5")
    picture = np.zeros((4, 4, 3), np.uint8)
    times = (0.0, 0.75, 1.5)
    frames = [
        (Frame("front", round(at * 1e9), "", MessageKind.IMAGE, b""), ImagePart(picture))
        for at in times
    ]
    question, answer = QUESTIONS[0]
    turns, media = mark_media(write_messages(question, frames=frames), MarkStyle(after_image="\n"))
    turns = (*turns, Turn("assistant", answer))
    asked = lay_out_chunks(TEMPLATES[TEMPLATE].prompt(turns), media, loaded)
    expected = [
        IMAGE_ID if isinstance(part, MediaSegment) else list(part.token_ids)
        for part in asked.segments
    ]
    writer = Writer(tokenizer)
    branch = writer.branch(question, answer)
    pieces = writer.beginning([0, 1, 2], times, Steady(0.5))
    given = [IMAGE_ID if isinstance(piece, int) else list(piece) for piece in pieces]
    assert [*given, [*branch.asked, *branch.answer]] == expected


def test_answers_alone_are_learnt(tokenizer):
    writer = Writer(tokenizer)
    branches = tuple(writer.branch(*each) for each in QUESTIONS)
    batch = batch_of([Packed(writer.beginning([0], [0.0], Steady(0.5)), branches)], PAD_ID)
    learnt = batch.labels[0][batch.labels[0] != IGNORE].tolist()
    assert learnt == [token for branch in branches for token in branch.answer]
    assert (batch.ids[0] == IMAGE_ID).sum() == IMAGE_ROWS
    before = np.nonzero(batch.labels[0] != IGNORE)[0]
    following = batch.ids[0][before + 1]
    assert following.tolist() == learnt


def test_questions_do_not_see_each_other(tokenizer):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    config = language_config(
        tokenizer.get_vocab_size(), **sizes, num_attention_heads=2, num_key_value_heads=2
    )
    network = Network(config).eval()
    writer = Writer(tokenizer)
    beginning = writer.beginning([0], [0.0], Steady(0.5))
    branches = [writer.branch(*each) for each in QUESTIONS]
    projected = torch.randn(1, IMAGE_ROWS, 32)
    with torch.no_grad():
        together = batch_of([Packed(beginning, tuple(branches))], PAD_ID)
        packed = network.hidden(together, projected)[0][0]
        for number, branch in enumerate(branches, start=1):
            alone = batch_of([Packed(beginning, (branch,))], PAD_ID)
            single = network.hidden(alone, projected)[0][0]
            expected = single[torch.from_numpy(alone.owner[0] == 1)]
            assert torch.allclose(
                packed[torch.from_numpy(together.owner[0] == number)], expected, atol=1e-4
            )


@pytest.mark.parametrize("make", [still_scene, clip_scene])
def test_a_sequence_keeps_to_its_budget_of_questions(tokenizer, make):
    writer = Writer(tokenizer)
    for seed in range(20):
        with Renderer(64, 48) as renderer:
            _, truths = draw_scene(renderer, make(seed))
        record = SceneRecord(tuple(range(len(truths))), tuple(truths))
        for budget in (60, 400):
            chance = np.random.default_rng(seed)
            branches = sequence_of(record, writer, chance, False, budget).branches
            assert sum(map(len, branches)) <= budget or len(branches) == 1
            assert branches


def test_what_is_called_larger_is_so_in_space_and_in_height():
    chance = np.random.default_rng(0)
    told = {pair for _ in range(3000) if "larger" in (pair := text_only(chance))[0]}
    assert len(told) > 10
    for question, larger in told:
        one, other = re.findall(rf"an? ({'|'.join(KINDS)})", question)
        smaller = other if larger == one else one
        assert np.prod(SHAPES[larger].size) > np.prod(SHAPES[smaller].size), question
        assert SHAPES[larger].size[2] > SHAPES[smaller].size[2], question
    first = {larger == question.split()[4].rstrip(",") for question, larger in told}
    assert first == {True, False}


def test_any_text_can_be_written(tokenizer):
    text = 'Grüße, {"a": [1.5, null]}\n\tüber 東京!'
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
