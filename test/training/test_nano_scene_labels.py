# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures' tokens are asked what the simulation did; what is never shown is not denied."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

pytest.importorskip("pybullet")

from vila_ros.simulation.questions import Asked
from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.scenes import HELD_OUT, clip_scene, still_scene
from vila_ros.simulation.shapes import KINDS
from vila_ros.simulation.wording import MOTIONS
from vila_ros.training.nano.cells import label_cells
from vila_ros.training.nano.mixture import excerpt
from vila_ros.training.nano.scene_heads import (
    NEVER_THERE,
    UNSAID,
    SceneHeads,
    joined,
    label_scene,
)
from vila_ros.training.nano.sequences import IGNORE, Packed, Writer, batch_of
from vila_ros.training.nano.shards import SceneRecord
from vila_ros.training.nano.tokens import PAD_ID, learn_tokenizer
from vila_ros.training.nano.unseen import unseen_answers


def seen(column, distance=5.0, visible=1.0, number=0):
    return SeenThing(number, "car", "red", distance, 0.0, column, 0.3, visible)


def clip(*things):
    return tuple(
        FrameTruth(round(0.5e9 * index), "road", 0.0, (thing,))
        for index, thing in enumerate(things)
    )


def test_things_of_a_kind_are_numbered_in_the_order_in_which_they_are_read():
    scenes = [still_scene(seed) for seed in range(30)]
    numbered = 0
    for scene in scenes:
        cells = label_cells(scene)
        for kind in range(1, 1 + len(KINDS)):
            of_kind = cells.kinds[0] == kind
            things = dict.fromkeys(cells.owners[0][of_kind].tolist())
            ranks = [set(cells.ranks[0][cells.owners[0] == each].tolist()) for each in things]
            assert ranks == [{min(1 + index, 4)} for index in range(len(things))]
            numbered = max(numbered, len(things))
        assert not cells.ranks[0][cells.kinds[0] == 0].any()
    assert numbered >= 3


def test_a_things_cells_tell_what_it_did_since_the_first_picture():
    frames = clip(seen(0.2), seen(0.5), seen(0.8, distance=6.0))
    owners = np.zeros((3, 64), np.uint8)
    owners[:, 5] = 1
    labels = label_scene(frames, owners, owners)
    crosses = list(MOTIONS).index("crosses to the right")
    assert labels.motions[:, 5].tolist() == [UNSAID, UNSAID, crosses]
    assert labels.shifts[1, 5].tolist() == pytest.approx([0.3, 0.0])
    assert labels.shifts[2, 5].tolist() == pytest.approx([0.6, math.log(1.2)])
    assert np.isnan(labels.shifts[:, 4]).all()
    assert labels.ranks[0].tolist().count(0) == 1
    assert labels.moving.tolist() == [UNSAID, 0, 0]


def test_what_appears_has_not_moved_from_anywhere():
    frames = clip(seen(1.2, visible=0.0), seen(0.8))
    owners = np.full((2, 64), 1, np.uint8)
    labels = label_scene(frames, owners, owners)
    assert (labels.motions[1] == list(MOTIONS).index("appears")).all()
    assert np.isnan(labels.shifts).all()


def test_a_pictures_end_tells_of_each_kind_how_many_there_are_and_what_became_of_it():
    car, cone = KINDS.index("car"), KINDS.index("cone")
    frames = clip(seen(0.5), seen(0.8, visible=0.3), seen(1.2, visible=0.0))
    owners = np.zeros((3, 64), np.uint8)
    labels = label_scene(frames, owners, owners)
    assert labels.counts[:, car].tolist() == [1, UNSAID, 0]
    assert not labels.counts[:, cone].any()
    leaves = list(MOTIONS).index("leaves")
    assert labels.fates[:, car].tolist() == [UNSAID, UNSAID, leaves]
    assert labels.fates[:, cone].tolist() == [UNSAID, NEVER_THERE, NEVER_THERE]


def test_of_two_things_of_a_kind_no_fate_is_told():
    pair = (seen(0.3), seen(0.7, number=1))
    frames = tuple(FrameTruth(stamp, "road", 0.0, pair) for stamp in (0, 500_000_000))
    owners = np.zeros((2, 64), np.uint8)
    labels = label_scene(frames, owners, owners)
    assert labels.fates[1, KINDS.index("car")] == UNSAID
    assert labels.counts[:, KINDS.index("car")].tolist() == [2, 2]


def test_the_heads_learn_from_what_is_labelled_alone():
    torch.manual_seed(0)
    still = label_scene(clip(seen(0.2)), np.zeros((1, 64), np.uint8), np.zeros((1, 64), np.uint8))
    heads = SceneHeads(8)
    rows = torch.randn(1, 64, 8, requires_grad=True)
    heads(rows, rows[:, -1], still).backward()
    assert heads.place.weight.grad.abs().sum() > 0
    assert heads.count.weight.grad.abs().sum() > 0
    assert heads.fate.weight.grad.abs().sum() == 0
    assert heads.motion.weight.grad.abs().sum() == heads.rank.weight.grad.abs().sum() == 0
    both = joined([still, still])
    assert both.ranks.shape == (2, 64)


def test_a_clips_excerpt_backwards_is_a_clip_in_which_all_goes_backwards():
    scene = clip_scene(1, frames=4)
    frames = clip(seen(0.2), seen(0.4), seen(0.6), seen(0.8))
    record = SceneRecord((10, 11, 12, 13), frames)
    ways = set()
    for seed in range(40):
        part = excerpt(record, 3, np.random.default_rng(seed))
        assert len(part.pictures) == len(set(part.pictures)) == 3
        stamps = [each.stamp_ns for each in part.frames]
        assert stamps == sorted(stamps)
        for picture, each in zip(part.pictures, part.frames, strict=True):
            assert each.things == frames[picture - 10].things
        ways.add(part.pictures[0] < part.pictures[-1])
    assert ways == {True, False}
    assert excerpt(record, 8, np.random.default_rng(0)).frames[0].things
    assert len(scene.views) == 4


def test_a_color_that_training_never_shows_is_not_denied():
    rare = HELD_OUT["car"]
    assert unseen_answers(Asked("color", "What color is the car?", "red", "car")) == (rare,)
    assert unseen_answers(Asked("presence", "Is there a red car?", "yes")) == ()
    told = unseen_answers(Asked("caption", "", "A red car ahead and a blue cone on the left."))
    assert len(told) == 2
    assert f"{rare} car ahead and a blue cone" in told[0]
    assert told[0].startswith("A")
    assert (
        f"A red car ahead and a{'n' * (HELD_OUT['cone'][0] in 'aeiou')} {HELD_OUT['cone']}"
        in (told[1])
    )
    again = unseen_answers(Asked("caption", "", "A red car ahead and another red car ahead."))
    assert again[1] == f"A red car ahead and another {rare} car ahead."
    assert unseen_answers(Asked("caption", "", "Another red car."))[0] == f"Another {rare} car."
    as_json = Asked("json", "", '{"kind": "car", "color": "red"}', "car")
    assert unseen_answers(as_json) == (f'{{"kind": "car", "color": "{rare}"}}',)


def test_a_spared_word_stands_where_the_answer_would_say_it():
    words = ["What color is the car?", "red", "white", "orange", "green", *HELD_OUT.values()]
    tokenizer = learn_tokenizer(words * 50, 600)
    writer = Writer(tokenizer)
    rare = HELD_OUT["car"]
    branch = writer.branch("What color is the car?", "white", unseen=(rare,))
    [(place, token)] = branch.spared
    assert (place, token) == (0, tokenizer.encode(rare).ids[0])
    batch = batch_of([Packed((), (branch,))], PAD_ID)
    row = batch.spared[0].tolist().index(token)
    assert batch.labels[0][row] == branch.answer[0]
    assert (batch.spared[0] != IGNORE).sum() == 1
