# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A decode step of few kernels is the modules' step: on a GPU, or its kernels interpreted."""

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from vila_ros.model.decoder import Decoder, StaticDecoder
from vila_ros.model.kv_cache import SlotCache
from vila_ros.quantization.groups import round_to_groups
from vila_ros.quantization.int4_linear import Int4Linear, StoredEmbedding, StoredLinear
from vila_ros.quantization.int4_weight import Int4Weight

pytest.importorskip("triton")

from vila_ros.model import step_kernels
from vila_ros.model.fused_decoder import FusedDecoder, can_fuse, checked
from vila_ros.quantization import triton_int4

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def large_programs(monkeypatch):
    """An interpreter takes long for each program, whatever it does."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(step_kernels, "LINE_OUTPUTS", 64)
        monkeypatch.setattr(triton_int4, "OUTPUTS", 128)


SIZES = {
    "hidden_size": 128,
    "intermediate_size": 384,
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


def plain(name, **more):
    torch.manual_seed(0)
    if name == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES, **more))
    else:
        model = LlamaForCausalLM(LlamaConfig(**SIZES, **more))
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms and biases
            parameter.data.normal_(1.0, 0.3)
        else:
            parameter.data.normal_(0.0, parameter.shape[1] ** -0.5)
    return model.eval().requires_grad_(False).to(DEVICE)


def four(name, scaled=(), group=32):
    """In four bits; scaled: the products whose inputs are scaled."""
    model = plain(name)
    for place, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and ".layers." in place:
            weight = Int4Weight.of(round_to_groups(module.weight.data.cpu(), group))
            kind = place.rpartition(".")[2]
            if kind in scaled:
                factors = torch.linspace(0.5, 1.5, module.in_features)
                weight = Int4Weight(weight.packed, weight.scales, weight.zeros, factors)
            bias = None if module.bias is None else module.bias.cpu()
            linear = Int4Linear(weight, bias)
            if DEVICE.type == "cuda":
                linear.to_cuda(DEVICE)
            model.set_submodule(place, linear)
    table = model.model.embed_tokens.weight.data.bfloat16()
    model.set_submodule("model.embed_tokens", StoredEmbedding(table, torch.float32))
    model.set_submodule("lm_head", StoredLinear(model.lm_head.weight.data.bfloat16()))
    return model


MODELS = {
    "llama": lambda: plain("llama"),
    "llama3": lambda: plain("llama", rope_parameters=LLAMA3),
    "biased": lambda: plain("llama", attention_bias=True),
    "qwen2": lambda: plain("qwen2"),
    "four bits": lambda: four("llama"),
    "four bits, qwen2": lambda: four("qwen2"),
    "four bits, inputs scaled": lambda: four(
        "llama", ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    ),
}


def cache_of(model, dtype=torch.float32, length=140):
    return SlotCache(model.config, slots=3, context_length=length, dtype=dtype, device=DEVICE)


@torch.inference_mode()
def steps(make, model, many, dtype=torch.float32):
    """Logits of decode steps of `many` sequences, of which the first crosses into a second block of
    positions."""
    random = torch.Generator().manual_seed(1)
    lengths = (63, 5, 70)[:many]
    width = model.config.hidden_size
    decoder = make(model, cache_of(model, dtype))
    for slot, length in enumerate(lengths):
        rows = torch.randn(length, width, generator=random).to(DEVICE, dtype)
        decoder.prefill(slot, 0, rows, last=False)
    found = []
    for step in range(2):
        rows = tuple((slot, length + step) for slot, length in enumerate(lengths))
        logits = decoder.decode(rows, [(7 * slot + step) % 90 for slot, _ in rows]).logits
        found.append(logits.float().cpu().clone())
    keys = [layer.keys[:, :, :90].float().cpu() for layer in decoder.cache.layers]
    values = [layer.values[:, :, :90].float().cpu() for layer in decoder.cache.layers]
    decoder.close()
    return torch.cat(found), torch.stack(keys + values)


def error(found, right):
    return float((found - right).norm() / right.norm())


@pytest.mark.parametrize("many", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_cache_are_those_of_the_modules(name, many):
    model = MODELS[name]()
    assert can_fuse(model, cache_of(model))
    logits, kept = steps(Decoder, model, many)
    found, stored = steps(FusedDecoder, model, many)
    # torch's kernel multiplies in bfloat16.
    most = 2e-2 if name.startswith("four") else 1e-5
    assert error(found, logits) < most
    assert error(stored, kept) < most
    if many == 1:
        with torch.inference_mode():
            assert FusedDecoder(model, cache_of(model)).difference() < most


def test_branches_and_later_chunks_of_a_prompt():
    """Rows that see part of what lies before them, and rows behind others."""
    model = MODELS["llama"]()
    rows = torch.randn(30, 128, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    found = []
    with torch.inference_mode():
        for make in (Decoder, FusedDecoder):
            decoder = make(model, cache_of(model))
            before = rows.clone()
            decoder.prefill(2, 0, rows[:17], last=False)
            told = decoder.prefill(2, 17, rows[17:], last=True)
            assert torch.equal(rows, before)
            branches = decoder.branch(2, 30, [(5, 6, 7), (8,), (9, 10)])
            found.append(torch.cat([told[None], *branches]).cpu())
    assert error(found[1], found[0]) < 1e-5


def test_an_answer_far_from_the_beginning():
    """Splits of more than a block, most of them empty, and one step behind another."""
    model = MODELS["llama"]()
    found = []
    rows = torch.randn(2300, 128, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    cache = cache_of(model, length=2500)
    with torch.inference_mode():
        Decoder(model, cache).prefill(2, 0, rows, last=False)
        for make in (Decoder, FusedDecoder):
            decoder = make(model, cache)
            first = decoder.decode(((2, 2300),), [4])
            token = first.wait()[0]
            following = decoder.follow(first) or decoder.decode(((2, 2301),), token)
            found.append(following.logits.cpu().clone())
    expected, logits = found
    assert error(logits, expected) < 1e-5


def test_sixteen_bits_round_like_the_modules():
    # The interpreter multiplies no bfloat16.
    half = torch.bfloat16 if DEVICE.type == "cuda" else torch.float16
    model = MODELS["llama"]().to(half)
    right, _ = steps(Decoder, MODELS["llama"](), 3)
    modules, _ = steps(StaticDecoder, model, 3, half)
    found, _ = steps(FusedDecoder, model, 3, half)
    assert error(found, right) < 1.3 * error(modules, right) + 1e-3


def test_weights_are_held_once_and_prompts_are_still_right():
    for name in ("qwen2", "four bits, qwen2"):
        model = MODELS[name]()
        rows = torch.randn(20, 128, generator=torch.Generator().manual_seed(3)).to(DEVICE)
        with torch.inference_mode():
            before = model(inputs_embeds=rows[None]).logits
            FusedDecoder(model, cache_of(model)).close()
            after = model(inputs_embeds=rows[None]).logits
        # On a GPU few rows of four bits are then multiplied by restored weights.
        assert error(after, before) < (2e-2 if name.startswith("four") else 1e-6)
        mine = model.model.layers[0].self_attn
        storages = set()
        for linear in (mine.q_proj, mine.k_proj, mine.v_proj):
            tensor = linear.packed if isinstance(linear, Int4Linear) else linear.weight
            storages.add(tensor.untyped_storage().data_ptr())
        assert len(storages) == 1


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: plain("llama", hidden_act="gelu"), "another gate"),
        (lambda: plain("llama", rope_parameters=DYNAMIC), "turns that depend on the length"),
        (lambda: plain("llama", head_dim=24), "heads of no power of two"),
        (lambda: four("llama", ("k_proj",)), "inputs that are scaled apart"),
        (lambda: four("llama", group=16), "groups that torch's kernel does not take"),
    ],
)
def test_what_the_kernels_do_not_know_is_left_to_the_modules(make, why):
    model = make()
    assert not can_fuse(model, cache_of(model)), why


def test_kernels_that_are_wrong_or_fail_on_a_device_are_not_used(monkeypatch, caplog):
    model = MODELS["llama"]()
    assert isinstance(checked(model, cache_of(model)), FusedDecoder)

    monkeypatch.setattr(FusedDecoder, "difference", lambda self: float("nan"))
    assert checked(model, cache_of(model)) is None
    assert "differ by nan" in caplog.text

    def fail(self):
        raise ValueError("out of resource: shared memory")

    monkeypatch.setattr(FusedDecoder, "difference", fail)
    assert checked(model, cache_of(model)) is None
    assert "ValueError: out of resource: shared memory" in caplog.text

    def lack(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    monkeypatch.setattr(FusedDecoder, "difference", lack)
    with pytest.raises(torch.OutOfMemoryError):
        checked(model, cache_of(model))
