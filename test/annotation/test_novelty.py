# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Novelty: what looks like nothing else in the fleet's recordings."""

import numpy as np
import pytest

from vila_ros.annotation.miners import FleetFrames
from vila_ros.annotation.novelty import Novelty, neighbour_distances, reference_rows
from vila_ros.errors import InvalidRequest

SECOND = 1_000_000_000


class Rows:
    """Embeddings in memory."""

    def __init__(self, rows):
        self.rows = np.array(rows, np.float32)

    @property
    def width(self):
        return self.rows.shape[1]

    def take(self, rows):
        return self.rows[rows]


def fleet(count=200, dimensions=16, recordings=4, strange=(37,), seed=3):
    """Frames that look alike, a few seconds apart, some of them strange."""
    chance = np.random.default_rng(seed)
    usual = np.ones(dimensions) + 0.1 * chance.normal(size=(count, dimensions))
    for row in strange:
        usual[row] = chance.normal(size=dimensions)
    usual /= np.linalg.norm(usual, axis=1, keepdims=True)
    rows = np.arange(count)
    return FleetFrames(
        recording=(rows % recordings).astype(np.int32),
        camera=np.zeros(count, np.int32),
        recorded_ns=(rows // recordings * 2 * SECOND).astype(np.int64),
        hash=np.zeros(count, np.uint64),
        embeddings=Rows(usual),
    )


def with_rows(frames, order, rows):
    """Some frames in another order, with these embeddings."""
    fields = (frames.recording, frames.camera, frames.recorded_ns, frames.hash)
    return FleetFrames(*(each[order] for each in fields), Rows(rows))


def test_the_strange_frame_is_found_and_no_other():
    ((row, reason),) = Novelty(0.005).compare(fleet())
    assert row == 37
    assert reason.miner == "novelty"
    assert reason.details["distance"] > 5 * reason.details["median"]
    assert 0.5 < reason.score <= 1
    assert reason.details["frames"] == 200


def test_a_fleet_that_looks_the_same_has_nothing_new():
    frames = fleet(strange=())
    every = np.arange(200)
    same = with_rows(frames, every, np.tile(frames.embeddings.rows[:1], (200, 1)))
    assert list(Novelty(0.5).compare(same)) == []
    few = with_rows(fleet(), every[35:40], fleet().embeddings.rows[35:40])
    assert list(Novelty(0.5).compare(few)) == []


def test_without_embeddings_nothing_is_compared():
    frames = fleet()
    bare = with_rows(frames, np.arange(200), np.zeros((200, 0)))
    assert list(Novelty(0.5).compare(bare)) == []


def test_frames_of_the_same_moment_do_not_vouch_for_each_other():
    moment = (36, 40, 44, 48)  # of one recording, two seconds apart
    frames = fleet(strange=moment)
    frames.embeddings.rows[list(moment)] = frames.embeddings.rows[36]
    assert {row for row, _ in Novelty(0.02).compare(frames)} == set(moment)


@pytest.mark.parametrize("most", [1000, 50])
def test_the_result_does_not_depend_on_the_order_of_the_frames(most):
    frames = fleet()
    order = np.random.default_rng(1).permutation(200)
    other = with_rows(frames, order, frames.embeddings.rows[order])
    before = neighbour_distances(frames, max_reference=most)
    after = neighbour_distances(other, max_reference=most)
    np.testing.assert_allclose(after, before[order], atol=1e-5)


def test_a_sample_of_the_fleet_finds_the_same():
    frames = fleet(count=2000)
    assert len(reference_rows(frames, 100)) == 100
    distances = neighbour_distances(frames, max_reference=100)
    assert int(np.argmax(distances)) == 37


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_the_fraction_must_be_one(fraction):
    with pytest.raises(InvalidRequest, match="the novel fraction is"):
        Novelty(fraction)
