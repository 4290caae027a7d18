# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""AWQ's search, where no reference is needed to know what must hold."""

import copy

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vila_ros.quantization.awq_search import (
    Rounding,
    apply_scale,
    linears_of,
    observe,
    run_block,
    scale_groups,
    search_block,
    search_scale,
)


@pytest.fixture(scope="module", params=[2, 4], ids=["grouped queries", "a value head a query"])
def block_and_inputs(request):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=request.param,
        vocab_size=64,
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).eval()
    block = model.model.layers[0]
    block.input_layernorm.weight.data[::17] = 6.0  # channels that stand out
    samples, contexts = [], []
    for length in (40, 25):
        samples.append(torch.randn(1, length, 128))
        positions = torch.arange(length)[None]
        rotary = model.model.rotary_emb(samples[-1], positions)
        contexts.append({"position_embeddings": rotary, "attention_mask": None})
    return block, samples, contexts


def test_a_value_and_an_output_share_a_scale_where_their_shapes_allow(block_and_inputs):
    block, _, _ = block_and_inputs
    linears = linears_of(block)
    same = linears["self_attn.v_proj"].weight.shape == linears["self_attn.o_proj"].weight.shape

    previous = [group.previous for group in scale_groups(block)]

    expected = ["input_layernorm", "post_attention_layernorm", "mlp.up_proj"]
    assert previous == ([*expected[:1], "self_attn.v_proj", *expected[1:]] if same else expected)


def test_scales_alone_leave_the_blocks_output_as_it_was(block_and_inputs):
    block, samples, contexts = block_and_inputs
    block = copy.deepcopy(block)
    inputs, before = observe(block, samples, contexts)
    rounding = Rounding()

    found = [search_scale(block, group, inputs, rounding) for group in scale_groups(block)]
    for each in found:
        apply_scale(block, each, inputs)

    assert any(each.ratio > 0 for each in found)
    for a, b in zip(before, run_block(block, samples, contexts), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_search_beats_rounding_to_nearest(block_and_inputs):
    block, samples, contexts = block_and_inputs
    inputs, expected = observe(block, samples, contexts)
    rounding = Rounding()

    def error(rounded: torch.nn.Module) -> float:
        for linear in linears_of(rounded).values():
            linear.weight.data = rounding(linear.weight.data)
        out = run_block(rounded, samples, contexts)
        return sum(float((a - b).pow(2).sum()) for a, b in zip(expected, out, strict=True))

    nearest = error(copy.deepcopy(block))
    searched = copy.deepcopy(block)
    search_block(searched, inputs, rounding)
    assert error(searched) < nearest
