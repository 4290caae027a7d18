# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""S2: tiles cut and joined, and features of several scales side by side."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from vila_ros.model.config import Scales
from vila_ros.model.multiscale import (
    encode_scales,
    merge_scales,
    merge_tiles,
    repeat_scales,
    split_tiles,
    to_maps,
    to_tokens,
)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_joining_undoes_cutting(rows: int, columns: int, batch: int):
    maps = torch.randn(batch, 2, rows * 3, columns * 3)
    tiles = split_tiles(maps, rows, columns)
    assert tiles.shape == (rows * columns * batch, 2, 3, 3)
    assert torch.equal(merge_tiles(tiles, rows, columns), maps)


def test_tiles_come_in_row_order_each_with_its_batch():
    maps = torch.arange(8.0).view(2, 1, 2, 2)
    assert split_tiles(maps, 2, 2).flatten().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_tokens_and_maps_are_one_another():
    tokens = torch.randn(2, 9, 5)
    assert torch.equal(to_tokens(to_maps(tokens)), tokens)
    assert to_maps(tokens)[0, :, 1, 2].equal(tokens[0, 5])


def every_second_pixel(pixels: torch.Tensor) -> torch.Tensor:
    """A tower that sees what it says: [B, 3, 4, 4] -> [B, 4, 3]."""
    return to_tokens(pixels[:, :, ::2, ::2])


def test_two_scales_by_hand():
    pixels = torch.randn(2, 3, 8, 8)
    scales = Scales((4, 8), 4, 0, dynamic=False)
    small = interpolate(pixels, size=(4, 4), mode="bicubic")[:, :, ::2, ::2]
    large = avg_pool2d(pixels[:, :, ::2, ::2], 2)
    expected = to_tokens(torch.cat([small, large], dim=1))
    torch.testing.assert_close(encode_scales(every_second_pixel, pixels, scales), expected)


def test_the_larger_scale_as_output():
    pixels = torch.randn(1, 3, 8, 8)
    scales = Scales((4, 8), 4, 1, dynamic=False)
    small = interpolate(pixels, size=(4, 4), mode="bicubic")[:, :, ::2, ::2]
    large = pixels[:, :, ::2, ::2]
    expected = to_tokens(
        torch.cat([small.repeat_interleave(2, 2).repeat_interleave(2, 3), large], 1)
    )
    torch.testing.assert_close(encode_scales(every_second_pixel, pixels, scales), expected)


@pytest.mark.parametrize(
    ("output", "size", "grid"), [(0, (2, 2), (1, 1)), (1, (4, 4), (2, 2)), (2, (6, 8), (3, 4))]
)
def test_dynamic_scales_meet_at_the_output_scale(output: int, size: tuple, grid: tuple):
    features = torch.randn(1 + 4 + 12, 4, 5)
    merged, made = merge_scales(features, (3, 4), Scales((4, 8, 12), 4, output, dynamic=True))
    assert merged.shape == (1, 15, *size)
    assert made == grid
    first = [merge_tiles(to_maps(features[:1]), 1, 1), merge_tiles(to_maps(features[1:5]), 2, 2)]
    if output < 2:
        kept = merged[:, 5 * output : 5 * output + 5]
        assert torch.equal(kept, first[output])


def test_an_untiled_image_looks_the_same_at_every_scale():
    features = torch.randn(2, 4, 5)
    repeated = repeat_scales(features, Scales((4, 8, 12), 4, 2, dynamic=True))
    assert torch.equal(repeated, torch.cat([features] * 3, dim=-1))
