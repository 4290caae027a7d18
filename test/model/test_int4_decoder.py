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
