# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Products with packed weights: compiled kernels, torch's own, and restored blocks agree."""

import pytest
import torch
import torch.nn.functional as F

from vila_ros.errors import Unsupported
from vila_ros.quantization import int4_linear, native
from vila_ros.quantization.cuda_int4 import CudaInt4
from vila_ros.quantization.groups import round_to_groups
from vila_ros.quantization.int4_linear import FEW_ROWS, Int4Linear, StoredEmbedding, StoredLinear
from vila_ros.quantization.int4_weight import Int4Weight

needs_kernels = pytest.mark.skipif(
    native.library() is None,
    reason="the int4 kernels are not built: make setup, or python -m vila_ros.quantization.native",
)


EXACT = 2e-6
ROUNDED = 6e-5
"""Relative errors of sums in float32, and of activations rounded to 16 bits."""

SETS = {"avx512_vnni": ROUNDED, "avx512": EXACT, "avx2": ROUNDED, "generic": EXACT}
"""What each instruction set's products of whole 128 columns may lose; others are float32's."""


@pytest.fixture(params=SETS)
def kernels(request):
    """Each set of kernels that this machine has."""
    library = native.library()
    if library is None or library.vila_choose(request.param.encode()):
        pytest.skip(f"no {request.param} here")
    torch.manual_seed(0)
    yield request.param
    library.vila_choose(None)


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


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"columns": 1280},
        {"columns": 8448, "rows": 9},
        {"group": 64},
        {"group": 32, "columns": 96},
        {"group": 16, "columns": 48},
        {"group": 256},
        {"group": 384, "columns": 1152},
        {"bias": False},
        {"scale_dtype": torch.bfloat16},
        {"scale_dtype": torch.float32},
        {"before": True},
        {"rows": 3},
    ],
    ids=str,
)
def test_few_rows_lose_next_to_nothing(options, kernels):
    linear = layer(**options)
    limit = SETS[kernels] if linear.weight.group % 128 == 0 else EXACT
    for rows in (1, 3, FEW_ROWS):
        x = torch.randn(rows, linear.in_features)
        assert error(linear(x), expected(linear, x)) < limit


def test_the_largest_activation_of_128_costs_the_others_less_than_bfloat16_would(kernels):
    linear = layer()
    x = torch.randn(1, 512)
    x[0, 5] = 3000.0
    right = expected(linear, x)

    assert error(linear(x), right) < 0.1 * error(linear(x.bfloat16()), right)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_an_invalid_activation_is_not_hidden(bad, kernels):
    linear = layer()
    x = torch.randn(2, 512)
    x[1, 300] = bad

    out = linear(x)

    assert torch.isfinite(out[0]).all()
    assert not torch.isfinite(out[1]).any()


@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-20, 1e20])
def test_activations_may_be_of_any_size(size, kernels):
    linear = layer(bias=False)
    x = torch.randn(1, 512) * size
    right = expected(linear, x)

    assert (linear(x).double() - right).norm() <= ROUNDED * right.norm() + 1e-28


@pytest.mark.parametrize("group", [32, 128])
def test_a_row_does_not_depend_on_the_others(group, kernels):
    linear = layer(group=group)
    x = torch.randn(FEW_ROWS, 512)

    assert torch.equal(linear(x), torch.cat([linear(row[None]) for row in x]))


@needs_kernels
def test_an_instruction_set_that_is_not_here_is_refused(monkeypatch):
    monkeypatch.setenv(native.SET_OVERRIDE, "sse9")
    with pytest.raises(Unsupported, match="'sse9'"):
        native.library.__wrapped__()


@needs_kernels
def test_an_instruction_set_can_be_asked_for(monkeypatch):
    monkeypatch.setenv(native.SET_OVERRIDE, "generic")
    native.library.__wrapped__()

    assert native.instruction_set() == "generic"
    assert native.library().vila_choose(None) == 0


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
