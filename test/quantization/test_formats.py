# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Four layouts of int4 weights, two of them against files of others."""

from pathlib import Path

import pytest
import torch

from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization.awq_parity import reference_rounding
from vila_ros.quantization.formats import FORMATS
from vila_ros.quantization.groups import restore, round_to_groups
from vila_ros.quantization.int4_weight import Int4Weight, pack_nibbles, unpack_nibbles

GOLDEN = Path(__file__).parents[1] / "data" / "awq" / "gqa_one_layer"
SUFFIXES = {
    "gemm": ("packed_gemm", ("qweight", "qzeros", "scales")),
    "tinychat": ("packed_tinychat_v2", ("qweight", "scales", "scaled_zeros")),
}


def weight(rows: int = 64, columns: int = 256, group: int = 128, symmetric: bool = False):
    numbers = torch.randn(rows, columns, generator=torch.Generator().manual_seed(3)) * 0.05
    return Int4Weight.of(round_to_groups(numbers, group, symmetric))


def assert_equal(a: Int4Weight, b: Int4Weight) -> None:
    for part in ("packed", "zeros"):
        assert torch.equal(getattr(a, part), getattr(b, part))
    assert torch.equal(a.scales.float(), b.scales.float())
    assert torch.equal(a.dequantise(), b.dequantise())


def test_nibbles_are_packed_lowest_first():
    q = torch.arange(16, dtype=torch.uint8)[None]

    assert pack_nibbles(q)[0, 0].item() == 0x76543210
    assert torch.equal(unpack_nibbles(pack_nibbles(q)), q)


@pytest.mark.parametrize("name", SUFFIXES)
def test_files_of_the_reference_give_the_reference_s_integers(name):
    file, suffixes = SUFFIXES[name]
    packed = SafetensorsFile(GOLDEN / f"{file}.safetensors")
    expected = SafetensorsFile(GOLDEN / "pseudo_quant.safetensors")
    for layer in ("model.layers.0.self_attn.k_proj", "model.layers.0.mlp.down_proj"):
        stored = {f"{layer}.{part}": expected.read(f"{layer}.{part}") for part in "qsz"}
        rounded = reference_rounding(stored, layer)
        tensors = {suffix: packed.read(f"{layer}.{suffix}") for suffix in suffixes}

        read = FORMATS[name].read(layer, tensors, tuple(rounded.q.shape))

        assert_equal(read, Int4Weight.of(rounded))


@pytest.mark.parametrize("group", [64, 128])
@pytest.mark.parametrize("name", ["compressed-tensors", "gemm", "tinychat"])
def test_what_is_written_is_read_again(name, group):
    given = weight(group=group)

    read = FORMATS[name].read("x", FORMATS[name].write("x", given), (64, 256))

    assert_equal(given, read)


def test_modelopt_is_symmetric_and_keeps_an_input_scale():
    given = weight(symmetric=True)
    known = FORMATS["modelopt"]

    assert_equal(given, known.read("x", known.write("x", given), (64, 256)))
    scaled = Int4Weight(given.packed, given.scales, given.zeros, torch.rand(256).half())
    again = known.read("x", known.write("x", scaled), (64, 256))
    assert torch.equal(again.input_scale, scaled.input_scale)
    with pytest.raises(InvalidRequest, match="W4A16_AWQ does not have"):
        known.write("x", weight())


def test_integers_of_modelopt_are_twos_complement_with_the_even_row_low():
    stored = {
        "weight": torch.tensor([[0xF1] * 16], dtype=torch.uint8),
        "weight_scale": torch.ones(2, 1),
    }

    read = FORMATS["modelopt"].read("x", stored, (2, 16))

    assert read.dequantise().tolist() == [[1.0] * 16, [-1.0] * 16]


@pytest.mark.parametrize("name", ["compressed-tensors", "gemm", "tinychat"])
def test_an_input_scale_has_no_place_elsewhere(name):
    given = weight(symmetric=True)
    scaled = Int4Weight(given.packed, given.scales, given.zeros, torch.rand(256))

    with pytest.raises(InvalidRequest, match="pre_quant_scale"):
        FORMATS[name].write("x", scaled)


@pytest.mark.parametrize("name", ["gemm", "tinychat"])
def test_scales_that_float16_cannot_hold_are_refused(name):
    rounded = round_to_groups(torch.randn(64, 256))

    with pytest.raises(InvalidRequest, match="float16 cannot hold"):
        FORMATS[name].write("x", Int4Weight.of(rounded, torch.float32))


def test_rows_that_do_not_fill_a_word_are_padded_or_refused():
    given = weight(rows=60)
    known = FORMATS["compressed-tensors"]

    assert_equal(given, known.read("x", known.write("x", given), (60, 256)))
    with pytest.raises(InvalidRequest, match="60 outputs"):
        FORMATS["gemm"].write("x", given)


@pytest.mark.parametrize("name", list(FORMATS))
def test_tensors_of_another_shape_are_named(name):
    known = FORMATS[name]
    tensors = known.write("x", weight(symmetric=True))

    with pytest.raises(InvalidCheckpoint, match=r"x\.\w+ has shape .*expected|weight_shape says"):
        known.read("x", tensors, (128, 256))


def test_scaled_zeros_that_fit_no_zero_point_are_refused():
    tensors = FORMATS["tinychat"].write("x", weight())
    tensors["scaled_zeros"][0] *= 1.3

    with pytest.raises(InvalidCheckpoint, match="no multiple of their scale"):
        FORMATS["tinychat"].read("x", tensors, (64, 256))


def test_dequantising_is_the_reference_s_formula():
    rounded = round_to_groups(torch.randn(8, 256))

    exact = Int4Weight.of(rounded, torch.float32)

    assert torch.equal(exact.dequantise(), restore(rounded))
    assert torch.equal(exact.dequantise(start=2, end=5), restore(rounded)[2:5])
