# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A decode step by the compiled kernels is the modules' step."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from vila_ros.model.decoder import Decoder
from vila_ros.model.int4_decoder import Int4Decoder, can_step
from vila_ros.model.kv_cache import BLOCK, SlotCache
from vila_ros.quantization import int4_linear, native
from vila_ros.quantization.groups import round_to_groups
from vila_ros.quantization.int4_linear import Int4Linear, StoredEmbedding, StoredLinear
from vila_ros.quantization.int4_weight import Int4Weight

pytestmark = pytest.mark.skipif(native.library() is None, reason="the int4 kernels are not built")

SIZES = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 90,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
}  # fmt: skip
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
MODELS = {
    "dynamic": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, rope_parameters=DYNAMIC, max_position_embeddings=8)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama3": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, rope_parameters=LLAMA3)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
}


@pytest.fixture(params=["avx512_vnni", "avx2", "generic"])
def kernels(request):
    """Each set of kernels that this machine has."""
    library = native.library()
    if library.vila_choose(request.param.encode()):
        pytest.skip(f"no {request.param} here")
    yield
    library.vila_choose(None)


@pytest.fixture(params=[name for name in MODELS if name != "dynamic"])
def model(request):
    return int4_model(request.param)


def int4_model(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval().requires_grad_(False)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and ".layers." in name:
            if module.bias is not None:
                module.bias.data.normal_()
            rounded = round_to_groups(module.weight.data, 32)
            model.set_submodule(name, Int4Linear(Int4Weight.of(rounded), module.bias))
    embeddings = model.model.embed_tokens.weight.data.bfloat16()
    model.set_submodule("model.embed_tokens", StoredEmbedding(embeddings, torch.float32))
    model.set_submodule("lm_head", StoredLinear(model.lm_head.weight.data.bfloat16()))
    return model


def cache_of(model, slots=12, dtype=torch.float32):
    device = torch.device("cpu")
    return SlotCache(model.config, slots=slots, context_length=2048, dtype=dtype, device=device)


@torch.inference_mode()
def steps(kind, model, many):
    """Logits of some decode steps of `many` sequences of different lengths."""
    cache = cache_of(model)
    decoder = kind(model, cache)
    embed = model.get_input_embeddings()
    for slot in range(many):
        decoder.prefill(slot, 0, embed(torch.arange(3 + 2 * slot) % 90), last=True)
    out = []
    for step in range(3):
        rows = tuple((slot, 3 + 2 * slot + step) for slot in range(many))
        out.append(decoder.decode(rows, [(7 * slot + step) % 90 for slot in range(many)]).logits)
    decoder.close()
    return torch.stack(out)


@pytest.mark.parametrize("many", [1, 3, 11])
def test_its_logits_are_the_modules(model, many, monkeypatch):
    # The modules take eleven rows for a prompt, which may be multiplied in bfloat16.
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: torch.float32)
    expected = steps(Decoder, model, many)

    mine = steps(Int4Decoder, model, many)

    torch.testing.assert_close(mine, expected, atol=2e-5, rtol=2e-5)


def test_rotations_that_depend_on_the_length_are_the_modules_too():
    expected = steps(Decoder, int4_model("dynamic"), 1)

    mine = steps(Int4Decoder, int4_model("dynamic"), 1)

    torch.testing.assert_close(mine, expected, atol=2e-5, rtol=2e-5)


def test_an_answer_does_not_depend_on_its_mates(model):
    alone, together = steps(Int4Decoder, model, 1), steps(Int4Decoder, model, 11)

    assert torch.equal(alone[:, 0], together[:, 0])


@torch.inference_mode()
def test_the_cache_may_grow_between_steps(model):
    logits = {}
    for kind in (Decoder, Int4Decoder):
        cache = cache_of(model, slots=1)
        decoder = kind(model, cache)
        rows = model.get_input_embeddings()(torch.arange(BLOCK - 1) % 90)
        decoder.prefill(0, 0, rows, last=False)
        steps = [decoder.decode(((0, BLOCK - 1 + i),), [i]).logits for i in range(3)]
        assert cache.capacity > BLOCK
        logits[kind] = torch.cat(steps)
        decoder.close()

    torch.testing.assert_close(logits[Int4Decoder], logits[Decoder], atol=2e-5, rtol=2e-5)


def test_what_the_kernels_do_not_know_is_left_to_the_modules(model, monkeypatch):
    assert can_step(model, cache_of(model))
    assert not can_step(model, cache_of(model, dtype=torch.bfloat16))
    model.config.hidden_act = "gelu"
    assert not can_step(model, cache_of(model))
    model.config.hidden_act = "silu"
    monkeypatch.setattr(native, "library", lambda: None)
    assert not can_step(model, cache_of(model))


@torch.inference_mode()
def test_it_says_the_most_probable_tokens(model):
    cache = cache_of(model, slots=11)
    decoder = Int4Decoder(model, cache)

    step = decoder.decode(tuple((slot, 0) for slot in range(11)), list(range(11)))
    tokens, best = step.wait()

    assert tokens == step.logits.argmax(dim=-1).tolist()
    assert torch.equal(best, step.logits.max(dim=-1).values)


@torch.inference_mode()
def test_the_lowest_of_equal_tokens_is_taken_and_an_invalid_logit_is_not_hidden(model):
    head = model.lm_head.weight.data
    head[:] = 0.0
    decoder = Int4Decoder(model, cache_of(model))
    assert decoder.decode(((0, 0),), [3]).wait()[0] == [0]
    head[77] = float("nan")

    tokens, best = decoder.decode(((0, 1),), [3]).wait()

    assert tokens == [77]
    assert best.isnan().all()


@torch.inference_mode()
def test_a_token_that_is_not_in_the_table_is_refused(model):
    decoder = Int4Decoder(model, cache_of(model))
    for token in (-1, 90):
        with pytest.raises(IndexError, match=f"{token}"):
            decoder.decode(((0, 0),), [token])


@torch.inference_mode()
def prompts(kind, model, lengths, branches=()):
    """Logits behind each chunk of a prompt in the second slot, and of branches; what is stored."""
    cache = cache_of(model, slots=2)
    decoder = kind(model, cache)
    embeddings = model.get_input_embeddings()(torch.arange(sum(lengths)) * 7 % 90)
    logits, start = [], 0
    for length in lengths:
        rows = embeddings[start : start + length]
        logits.append(decoder.prefill(1, start, rows, last=True))
        start += length
    logits += decoder.branch(1, start, list(branches)) if branches else []
    stored = [part[1, :, :start] for layer in cache.layers for part in (layer.keys, layer.values)]
    decoder.close()
    return torch.cat([part.reshape(-1, 90) for part in logits]), torch.stack(stored)


@pytest.mark.parametrize("lengths", [(9,), (61,), (40, 23), (12, 4, 70), (600,)])
def test_a_prompt_is_the_modules(model, lengths, kernels, monkeypatch):
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: torch.bfloat16)
    expected = prompts(Decoder, model, lengths)

    mine = prompts(Int4Decoder, model, lengths)

    for ours, theirs in zip(mine, expected, strict=True):
        # Both round to bfloat16 between the products, of sums in another order.
        assert (ours - theirs).norm() < 5e-3 * theirs.norm()


def test_branches_see_what_the_modules_let_them_see(model, monkeypatch):
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: torch.bfloat16)
    branches = [(1, 2, 3, 4), (5, 6), (7, 8, 9, 10, 11)]
    expected, _ = prompts(Decoder, model, (20,), branches)

    mine, _ = prompts(Int4Decoder, model, (20,), branches)

    assert (mine - expected).norm() < 5e-3 * expected.norm()


def test_scaled_inputs_and_a_bias_behind_the_attention_are_the_modules_too(model, monkeypatch):
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: torch.bfloat16)
    for layer in model.model.layers:
        for place in ("self_attn.o_proj", "mlp.down_proj"):
            linear = layer.get_submodule(place)
            linear.input_scale = torch.rand(linear.in_features) + 0.5
        layer.self_attn.o_proj.bias = torch.randn(128)
    expected, _ = prompts(Decoder, model, (30,))

    mine, _ = prompts(Int4Decoder, model, (30,))

    assert (mine - expected).norm() < 5e-3 * expected.norm()


def test_what_the_prompt_s_kernels_do_not_know_is_left_to_the_modules(model, monkeypatch):
    monkeypatch.setattr(int4_linear, "wide_dtype", lambda: torch.bfloat16)
    model.model.layers[1].mlp.up_proj.input_scale = torch.rand(128) + 0.5
    expected, _ = prompts(Decoder, model, (30,))

    mine, _ = prompts(Int4Decoder, model, (30,))

    assert torch.equal(mine, expected)
