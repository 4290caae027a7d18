# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Projectors against the formulas written out, token by token."""

import math

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, linear

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.projector import BlockDownsample, Projector

CHANNELS, HIDDEN = 6, 10


def random_projector(kind: str, order: str = "row") -> Projector:
    torch.manual_seed(0)
    projector = Projector(kind, CHANNELS, HIDDEN, order)
    for parameter in projector.parameters():
        torch.nn.init.normal_(parameter)
    return projector.requires_grad_(False)


def blocks_by_hand(tokens: torch.Tensor, size: int, order: str = "row") -> torch.Tensor:
    """[N, C] -> [M, size*size*C], one patch at a time."""
    side = math.isqrt(len(tokens))
    across = math.ceil(side / size)
    zeros = torch.zeros(tokens.shape[1])

    def patch(row: int, column: int) -> torch.Tensor:
        return tokens[row * side + column] if row < side and column < side else zeros

    def block(row: int, column: int) -> torch.Tensor:
        cells = [(row * size + r, column * size + c) for r in range(size) for c in range(size)]
        return torch.cat([patch(*cell) for cell in cells])

    places = [(a, b) for a in range(across) for b in range(across)]
    return torch.stack([block(a, b) if order == "row" else block(b, a) for a, b in places])


@pytest.mark.parametrize("side", [4, 5, 7])
@pytest.mark.parametrize(
    ("kind", "size", "order"),
    [
        ("mlp_downsample", 2, "row"),
        ("mlp_downsample", 2, "column"),
        ("mlp_downsample_2x2_fix", 2, "row"),
    ],
)
def test_two_by_two_kinds(kind: str, size: int, order: str, side: int):
    projector = random_projector(kind, order)
    tokens = torch.randn(side * side, CHANNELS)
    w = projector.state_dict()
    joined = blocks_by_hand(tokens, size, order)
    normed = layer_norm(joined, joined.shape[1:], w["layers.1.weight"], w["layers.1.bias"], 1e-5)
    inner = gelu(linear(normed, w["layers.2.weight"], w["layers.2.bias"]))
    expected = linear(inner, w["layers.4.weight"], w["layers.4.bias"])
    torch.testing.assert_close(projector(tokens[None])[0], expected)
    assert projector.tokens(side * side) == len(expected) == projector.grid(side) ** 2


@pytest.mark.parametrize("side", [3, 4, 5, 6])
def test_three_by_three(side: int):
    projector = random_projector("mlp_downsample_3x3_fix")
    tokens = torch.randn(side * side, CHANNELS)
    w = projector.state_dict()
    x = blocks_by_hand(tokens, 3)
    x = layer_norm(x, x.shape[1:], w["layers.1.weight"], w["layers.1.bias"], 1e-5)
    x = gelu(linear(x, w["layers.2.weight"], w["layers.2.bias"]))
    x = layer_norm(x, x.shape[1:], w["layers.4.weight"], w["layers.4.bias"], 1e-5)
    x = gelu(linear(x, w["layers.5.weight"], w["layers.5.bias"]))
    x = linear(x, w["layers.7.weight"], w["layers.7.bias"])
    torch.testing.assert_close(projector(tokens[None])[0], x)
    assert projector.tokens(side * side) == len(x)


def test_linear():
    projector = random_projector("linear")
    tokens = torch.randn(2, 7, CHANNELS)
    expected = linear(tokens, projector.layers.weight, projector.layers.bias)
    torch.testing.assert_close(projector(tokens), expected)
    assert projector.tokens(7) == 7


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_mlp_of_any_depth(depth: int):
    projector = random_projector(f"mlp{depth}x_gelu")
    x = tokens = torch.randn(2, 7, CHANNELS)
    w = projector.state_dict()
    for number in range(depth):
        x = gelu(x) if number else x
        x = linear(x, w[f"layers.{2 * number}.weight"], w[f"layers.{2 * number}.bias"])
    torch.testing.assert_close(projector(tokens), x)


def test_token_orders_on_a_grid_one_can_read():
    grid = torch.arange(16.0).view(1, 16, 1)
    rows = BlockDownsample(2, "row")(grid)[0].tolist()
    columns = BlockDownsample(2, "column")(grid)[0].tolist()
    assert rows == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert columns == [[0, 1, 4, 5], [8, 9, 12, 13], [2, 3, 6, 7], [10, 11, 14, 15]]


@pytest.mark.parametrize(("side", "size", "tokens"), [(27, 2, 196), (27, 3, 81), (32, 2, 256)])
def test_token_counts_of_published_models(side: int, size: int, tokens: int):
    assert BlockDownsample(size)(torch.zeros(1, side * side, 1)).shape[1] == tokens


def test_a_kept_class_token_is_named_as_the_cause():
    with pytest.raises(InvalidCheckpoint, match="577 vision tokens form no square grid"):
        BlockDownsample(2)(torch.zeros(1, 577, 4))
