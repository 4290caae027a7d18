# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rounding to four bits by groups."""

import pytest
import torch

from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.quantization.groups import (
    check_finite,
    check_group,
    pseudo_quantise,
    restore,
    round_to_groups,
)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("group", [32, 128])
def test_integers_restore_what_rounding_leaves(group, symmetric):
    weight = torch.randn(24, 256, generator=torch.Generator().manual_seed(1))

    rounded = round_to_groups(weight, group, symmetric)

    assert torch.equal(restore(rounded), pseudo_quantise(weight, group, symmetric))
    assert rounded.group == group
    assert int(rounded.q.max()) <= 15
    step = rounded.scales.repeat_interleave(group, dim=1)
    assert bool(((restore(rounded) - weight).abs() <= 0.51 * step).float().mean() > 0.99)


def test_symmetric_rounding_keeps_zero_and_the_largest_magnitude():
    weight = torch.tensor([[0.0, 0.7, -0.7, 0.1] * 4])

    rounded = round_to_groups(weight, 16, symmetric=True)

    assert bool((rounded.zeros == 8).all())
    torch.testing.assert_close(restore(rounded), weight)


def test_a_group_of_equal_weights_is_kept():
    assert torch.equal(pseudo_quantise(torch.zeros(2, 128)), torch.zeros(2, 128))


def test_groups_that_do_not_divide_are_refused_with_one_that_does():
    with pytest.raises(
        InvalidRequest, match=r"128 do not divide the 192 inputs of x; use --group 64"
    ):
        check_group("x", 192, 128)
    with pytest.raises(InvalidRequest, match="cannot be quantised"):
        check_group("x", 100, 128)
    for group in (0, 8, 100):
        with pytest.raises(InvalidRequest, match="multiple of 16"):
            check_group("x", 800, group)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(value):
    weight = torch.ones(2, 2)
    weight[0, 1] = value

    with pytest.raises(
        InvalidCheckpoint, match=r"layer\.7 holds 1 values that are NaN or infinite"
    ):
        check_finite("layer.7", weight)
