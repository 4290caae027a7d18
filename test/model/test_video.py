# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clips: frames framed by text, and pooled over time and space."""

import pytest
import torch

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.video import clip_rows, encode_clip, pool

FRAMES = torch.randn(4, 36, 5, generator=torch.Generator().manual_seed(0))
START, END, SEPARATOR = torch.full((2, 5), 1.0), torch.full((1, 5), 2.0), torch.full((3, 5), 3.0)


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 1, 1), (4, 2, 3), (2, 6, 6)])
def test_every_pooled_token_is_the_mean_of_its_block(size: tuple[int, int, int]):
    t, r, c = size
    grid = FRAMES.view(4, 6, 6, 5)
    pooled = pool(FRAMES, size).view(4 // t, 6 // r, 6 // c, 5)
    for a in range(4 // t):
        for b in range(6 // r):
            for d in range(6 // c):
                block = grid[a * t : a * t + t, b * r : b * r + r, d * c : d * c + c]
                torch.testing.assert_close(pooled[a, b, d], block.mean((0, 1, 2)))


def test_a_clip_that_does_not_divide_repeats_its_last_frame():
    longer = torch.cat([FRAMES[:3], FRAMES[2:3]])
    assert torch.equal(pool(FRAMES[:3], (2, 1, 1)), pool(longer, (2, 1, 1)))


def test_a_pool_that_does_not_divide_the_grid_is_refused():
    with pytest.raises(InvalidCheckpoint, match=r"\(1, 4, 1\) does not divide a grid of 6 x 6"):
        pool(FRAMES, (1, 4, 1))


def test_the_basic_encoder_frames_every_frame():
    rows = encode_clip(FRAMES, (), START, END)
    assert torch.equal(rows[:39], torch.cat([START, FRAMES[0], END]))
    assert len(rows) == clip_rows(4, 36, (), 3, 3) == 4 * 39


def test_several_pools_follow_one_another_each_with_a_separator():
    sizes = ((2, 1, 1), (4, 3, 3))
    rows = encode_clip(FRAMES, sizes, START, END, SEPARATOR)
    assert len(rows) == clip_rows(4, 36, sizes, 3, 3) == 2 * 39 + 3 + 7 + 3
    assert torch.equal(rows[2:38], pool(FRAMES, sizes[0])[0])
    assert torch.equal(rows[78:81], SEPARATOR)
    assert torch.equal(rows[83:87], pool(FRAMES, sizes[1])[0])


def test_rows_are_counted_for_odd_clips_too():
    rows = encode_clip(FRAMES[:3], ((2, 2, 2),), None, END)
    assert len(rows) == clip_rows(3, 36, ((2, 2, 2),), 1, 0) == 2 * 10
