"""Sequences of different lengths in one cache give what transformers gives for each alone."""

import logging

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from vila_ros.model.decoder import Decoder, StaticDecoder, compile_step
from vila_ros.model.kv_cache import BLOCK, SlotCache

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,  # else attention is too weak to change a token
}
PROMPTS = ([5, 9, 44, 3, 17, 60, 2], [7, 8], [90, 13, 77, 77, 21, 4, 8, 30, 31, 32, 33, 34])
NEW_TOKENS = 12


@pytest.fixture(params=["llama", "qwen2"], scope="module")
def expected(request):
    """A model, and what transformers' own generate answers greedily to each prompt."""
    torch.manual_seed(0)
    if request.param == "llama":
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**SIZES))
    model.eval().generation_config.eos_token_id = None
    answers = [
        model.generate(
            torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
        )[0, len(prompt) :].tolist()
        for prompt in PROMPTS
    ]
    return model, answers


def make_cache(model, slots=4, context=2048):
    return SlotCache(
        model.config,
        slots=slots,
        context_length=context,
        dtype=torch.float32,
        device=torch.device("cpu"),
    )


def embed(model, tokens):
    return model.get_input_embeddings()(torch.tensor(tokens))


def decode_all(model, decoder, slots, follow=False):
    """Prefill each prompt in its slot, then decode all together."""
    answers = []
    for prompt, slot in zip(PROMPTS, slots, strict=True):
        logits = decoder.prefill(slot, 0, embed(model, prompt), last=True)
        answers.append([int(logits.argmax())])
    step = None
    for _ in range(NEW_TOKENS - 1):
        rows = tuple(
            (slot, len(prompt) + len(answer) - 1)
            for slot, prompt, answer in zip(slots, PROMPTS, answers, strict=True)
        )
        following = decoder.follow(step) if follow and step else None
        step = following or decoder.decode(rows, [answer[-1] for answer in answers])
        assert step.rows == rows
        tokens, best = step.wait()
        torch.testing.assert_close(best, step.logits.max(dim=-1).values)
        for answer, token in zip(answers, tokens, strict=True):
            answer.append(token)
    return answers


@torch.inference_mode()
def test_batch_of_different_lengths_decodes_as_transformers_does_alone(expected):
    model, answers = expected
    decoder = Decoder(model, make_cache(model))
    assert decode_all(model, decoder, slots=(3, 0, 2)) == answers


@pytest.mark.parametrize("follow", [False, True])
@torch.inference_mode()
def test_static_steps_decode_the_same(expected, follow):
    model, answers = expected
    decoder = StaticDecoder(model, make_cache(model))
    assert decode_all(model, decoder, slots=(3, 0, 2), follow=follow) == answers


@torch.inference_mode()
def test_steps_are_whole_graphs_and_all_compiled_at_warm_up(monkeypatch, caplog):
    """A break in a graph would keep a step from being captured on a GPU, and compiling once more
    would make somebody wait."""
    caplog.set_level(logging.WARNING, logger="torch.__trace")  # not worth formatting
    torch._dynamo.reset()
    model = LlamaForCausalLM(LlamaConfig(**{**SIZES, "num_hidden_layers": 1}))
    graphs = CompileCounterWithBackend("eager")
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: compiled(*a, **k, backend=graphs))
    decoder = StaticDecoder(
        model, make_cache(model, slots=2, context=2 * BLOCK), compiler=compile_step
    )
    decoder.warm_up()
    built = graphs.frame_count
    for slot in range(2):
        decoder.decode(((slot, 3),), [1])
        decoder.decode(((slot, BLOCK + 3),), [1])
    decoder.decode(((1, 3), (0, 9)), [1, 1])
    decoder.decode(((0, BLOCK), (1, 3)), [1, 1])
    assert 0 < graphs.frame_count == built


@torch.inference_mode()
def test_static_steps_agree_beyond_the_first_bound(expected):
    model, _ = expected
    random = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 101, (BLOCK + 20,), generator=random).tolist()
    plain = Decoder(model, make_cache(model, slots=2))
    static = StaticDecoder(model, make_cache(model, slots=2))
    for decoder in (plain, static):
        decoder.prefill(1, 0, embed(model, tokens), last=False)
    rows = ((1, len(tokens)),)
    torch.testing.assert_close(
        static.decode(rows, [3]).logits, plain.decode(rows, [3]).logits, atol=1e-5, rtol=1e-5
    )


@torch.inference_mode()
def test_prefill_in_chunks_gives_the_logits_of_one(expected):
    model, _ = expected
    prompt = PROMPTS[2]
    decoder = Decoder(model, make_cache(model))
    whole = decoder.prefill(0, 0, embed(model, prompt), last=True)
    assert decoder.prefill(1, 0, embed(model, prompt[:5]), last=False) is None
    chunked = decoder.prefill(1, 5, embed(model, prompt[5:]), last=True)
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_branches_see_the_prompt_and_themselves_alone(expected):
    model, _ = expected
    decoder = Decoder(model, make_cache(model))
    prompt = PROMPTS[0]
    branches = [(4, 8, 15), (16,), (4, 23)]
    decoder.prefill(2, 0, embed(model, prompt), last=False)
    for branch, logits in zip(branches, decoder.branch(2, len(prompt), branches), strict=True):
        for depth in range(len(branch)):
            alone = embed(model, [*prompt, *branch[: depth + 1]])
            follows = decoder.prefill(0, 0, alone, last=True)
            torch.testing.assert_close(logits[depth], follows, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_rows_survive_growth_and_copying(expected):
    model, answers = expected
    cache = make_cache(model)
    decoder = Decoder(model, cache)
    prompt = PROMPTS[0]
    logits = decoder.prefill(0, 0, embed(model, prompt), last=True)
    cache.reserve(BLOCK + 1)
    cache.copy_rows(0, 3, len(prompt))
    step = decoder.decode(((3, len(prompt)),), [int(logits.argmax())])
    assert step.wait()[0] == [answers[0][1]]


def test_memory_is_as_documented(expected):
    model, _ = expected
    cache = make_cache(model, slots=4)
    per_position = 2 * 2 * 2 * 16 * 4  # keys and values, layers, kv_heads, head_dim, float32
    assert cache.bytes_per_position == per_position
    assert cache.allocated_bytes == per_position * 4 * BLOCK
    cache.reserve(BLOCK + 1)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cache.allocated_bytes == held == per_position * 4 * 2 * BLOCK
    assert cache.limit_bytes == per_position * 4 * 2048
    with pytest.raises(ValueError, match="2049 positions asked of a cache of 2048"):
        cache.reserve(2049)
