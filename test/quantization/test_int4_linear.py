# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Products with packed weights: compiled kernels, torch's own, and restored blocks agree."""

import pytest
import torch
import torch.nn.functional as F

from vila_ros.quantization import int4_linear, native
from vila_ros.quantization.cuda_int4 import CudaInt4
from vila_ros.quantization.groups import round_to_groups
from vila_ros.quantization.int4_linear import FEW_ROWS, Int4Linear, StoredEmbedding, StoredLinear
from vila_ros.quantization.int4_weight import Int4Weight

needs_kernels = pytest.mark.skipif(
    native.library() is None,
    reason="the int4 kernels are not built: make setup, or python -m vila_ros.quantization.native",
)


def layer(rows=70, columns=512, group=128, bias=True, scale_dtype=torch.float16, before=False):
    random = torch.Generator().manual_seed(5)
    weight = Int4Weight.of(
        round_to_groups(torch.randn(rows, columns, generator=random), group), scale_dtype
    )
    if before:
        factor = torch.rand(columns, generator=random) + 0.5
        weight = Int4Weight(weight.packed, weight.scales, weight.zeros, factor)
    return Int4Linear(weight, torch.randn(rows, generator=random) if bias else None)


def expected(linear: Int4Linear, x: torch.Tensor) -> torch.Tensor:
    """The product in double precision."""
    if linear.input_scale is not None:
        x = x * linear.input_scale
    bias = None if linear.bias is None else linear.bias.double()
    return F.linear(x.double(), linear.weight.dequantise().double(), bias)


def error(out: torch.Tensor, right: torch.Tensor) -> float:
    return float((out.double() - right).norm() / right.norm())


@needs_kernels
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"columns": 1280},
        {"group": 64},
        {"group": 32, "columns": 96},
        {"group": 16, "columns": 48},
        {"group": 256},
        {"bias": False},
        {"scale_dtype": torch.bfloat16},
        {"scale_dtype": torch.float32},
        {"before": True},
        {"rows": 3},
    ],
    ids=str,
)
def test_few_rows_are_exact_to_float32(options):
    linear = layer(**options)
    for rows in (1, 3, FEW_ROWS):
        x = torch.randn(rows, linear.in_features)
        assert error(linear(x), expected(linear, x)) < 2e-6


@needs_kernels
def test_a_row_does_not_depend_on_the_others():
    linear = layer()
    x = torch.randn(FEW_ROWS, 512)

    assert torch.equal(linear(x), torch.cat([linear(row[None]) for row in x]))


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    linear, x = layer(rows=300), torch.randn(2, 512)
    before = torch.get_num_threads()
    alone = linear(x)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(linear(x), alone)
    finally:
        torch.set_num_threads(before)


@needs_kernels
@pytest.mark.parametrize("group", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_restored_weights_are_bit_for_bit_those_of_torch(group, kind):
    linear = layer(columns=768, group=group)
    out = torch.empty(40, 768, dtype=kind)

    native.dequantised(native.library(), linear.matrix, 10, 50, out)

    assert torch.equal(out, linear.weight.dequantise(kind, 10, 50))


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("wide", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("before", [True, False])
def test_many_rows_go_by_blocks_of_restored_weights(monkeypatch, kernels, wide, before):
    if not kernels:
        monkeypatch.setattr(native, "library", lambda: None)
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: wide)
    monkeypatch.setattr(int4_linear, "BLOCK_BYTES", 512 * 4 * 9)
    linear = layer(before=before)
    x = torch.randn(2, 30, 512)

    out = linear(x)

    assert out.shape == (2, 30, 70)
    assert out.dtype == torch.float32
    assert error(out, expected(linear, x)) < (2e-6 if wide == torch.float32 else 1e-2)


def test_without_kernels_few_rows_are_still_float32(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)
    linear, x = layer(), torch.randn(2, 512)

    assert error(linear(x), expected(linear, x)) < 2e-6


@pytest.mark.parametrize("rows", [1, 40])
def test_bfloat16_comes_out_as_it_went_in(rows):
    linear = layer()
    x = torch.randn(rows, 512).bfloat16()

    out = linear(x)

    assert out.dtype == torch.bfloat16
    assert error(out, expected(linear, x)) < 1e-2


@pytest.mark.parametrize("group", [32, 64, 128])
def test_torch_s_kernel_gets_the_same_weight_by_its_own_layout(group):
    """On the CPU, whose operator has the CUDA one's arithmetic."""
    linear = layer(rows=64, group=group, bias=False)
    repacked = CudaInt4.of(linear.weight)
    x = torch.randn(5, 512)

    assert error(repacked.product(x), expected(linear, x)) < 1e-2
    assert CudaInt4.of(layer(rows=70).weight) is None
    assert CudaInt4.of(layer(rows=64, group=16).weight) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.cuda
@pytest.mark.parametrize("rows", [1, 8, 100])
def test_on_a_gpu(rows):
    linear = layer(rows=64)
    x = torch.randn(rows, 512)
    right = expected(linear, x)
    linear.to_cuda(torch.device("cuda"))

    assert error(linear(x.cuda().bfloat16()).cpu(), right) < 1e-2


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("rows", [1, 20])
def test_an_output_layer_keeps_its_16_bits(stored, rows):
    weight = torch.randn(99, 200).to(stored)
    linear = StoredLinear(weight)
    x = torch.randn(rows, 200)

    assert linear.weight.dtype == stored
    right = F.linear(x.double(), weight.double())
    assert error(linear(x), right) < 2e-6


def test_embeddings_keep_their_16_bits_and_are_handed_out_in_another_type():
    weight = torch.randn(10, 8).bfloat16()

    rows = StoredEmbedding(weight, torch.float32)(torch.tensor([[3, 1]]))

    assert torch.equal(rows, weight[[3, 1]].float()[None])
