"""Answers are those of the plain model, alone or together, and end when they should."""

import dataclasses
import math
import threading
import time

import pytest
import torch

from vila_ros.engine.interface import FinishReason, Message, Stage, TextPart
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    OutOfMemory,
    PromptTooLong,
    TooManyFrames,
)
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.decoder import Decoder, StaticDecoder
from vila_ros.model.generation import ROWS_AT_ONCE, Generator
from vila_ros.model.kv_cache import ATTENTION
from vila_ros.quantization import triton_runtime

LONG = 1800


@pytest.fixture(scope="module")
def plain(checkpoint):
    """Greedy text of a request by transformers' own generate."""
    vila = load_vila(checkpoint)
    assert vila.language_model.config._attn_implementation != ATTENTION

    def generate(request):
        embeddings = vila.embed_prompt(vila.render(request.messages))
        tokens = vila.language_model.generate(
            inputs_embeds=embeddings[None],
            max_new_tokens=request.max_tokens,
            do_sample=False,
            eos_token_id=list(vila.stop_token_ids),
            pad_token_id=0,
        )
        return vila.tokenizer.decode(tokens[0], skip_special_tokens=True)

    return generate


def requests(ask, images, count=8):
    return [
        ask(
            f"question {i}: what is this?" + " really" * (7 * i % 5),
            images[i : i + i % 4],
            request_id=f"r{i}",
            max_tokens=8 + i,
        )
        for i in range(count)
    ]


def test_text_is_that_of_plain_transformers(generator, ask, answer, plain, images):
    for request in requests(ask, images):
        text, last = answer(generator.submit(request))
        assert text == plain(request)
        assert last.finish_reason is FinishReason.LENGTH
        assert last.tokens == last.stats.completion_tokens == request.max_tokens


def test_text_does_not_depend_on_what_runs_beside_it(generator, ask, answer, plain, images):
    """More requests than slots, from as many threads, all at once."""
    together = {}

    def run(request):
        together[request.request_id] = answer(generator.submit(request))[0]

    asked = requests(ask, images, count=8)
    threads = [threading.Thread(target=run, args=(request,)) for request in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == {request.request_id: plain(request) for request in asked}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_static_decoding_gives_the_same_text(vila, ask, answer, plain, images, concurrency):
    """What runs on a GPU, with steps launched ahead of the host."""
    generator = Generator(
        vila,
        max_concurrency=concurrency,
        decoder=lambda cache: StaticDecoder(vila.language_model, cache),
    )
    asked = requests(ask, images, count=5)
    streams = [generator.submit(request) for request in asked]
    assert [answer(stream)[0] for stream in streams] == [plain(request) for request in asked]
    generator.close()


def test_a_gpu_s_decoder_is_the_fastest_that_runs_there(generator, monkeypatch):
    chosen = []
    for usable in (True, False):
        monkeypatch.setattr(triton_runtime, "usable", lambda device, usable=usable: usable)
        chosen += [type(generator._static_decoder(compiled)).__name__ for compiled in (True, False)]
    assert chosen == ["FusedDecoder", "StaticDecoder", "StaticDecoder", "StaticDecoder"]


def test_static_steps_are_launched_ahead_of_the_host(vila, ask, answer):
    """A lone greedy answer is told its first token; the others the step feeds itself."""
    told = []

    class Noting(StaticDecoder):
        def decode(self, rows, tokens):
            told.append(tokens)
            return super().decode(rows, tokens)

    generator = Generator(vila, decoder=lambda cache: Noting(vila.language_model, cache))
    assert answer(generator.submit(ask("what?")))[1].tokens == 16
    assert len(told) == 1
    generator.close()


def test_a_long_prompt_in_chunks_gives_the_same_text(generator, ask, answer, plain):
    request = ask("word " * 200)
    text, last = answer(generator.submit(request))
    assert last.stats.prompt_tokens > 2 * ROWS_AT_ONCE["cpu"]
    assert text == plain(request)


def test_seeds_do_not_depend_on_batch_mates(generator, ask, answer):
    sampled = ask("say something", temperature=1.0, top_p=0.9, seed=3)
    alone = answer(generator.submit(sampled))[0]
    streams = [
        generator.submit(dataclasses.replace(sampled, request_id=f"s{seed}", seed=seed))
        for seed in range(6)
    ]
    texts = [answer(stream)[0] for stream in streams]
    assert texts[3] == alone
    assert len(set(texts)) > 1


def test_stages_and_counts_come_in_order(generator, ask, images):
    chunks = list(generator.submit(ask("what?", images[:3])))
    encoding = [chunk.stage for chunk in chunks].index(Stage.GENERATING)
    assert encoding > 0
    assert all(chunk.stage is Stage.ENCODING for chunk in chunks[:encoding])
    assert all(chunk.stage is Stage.GENERATING for chunk in chunks[encoding:])
    assert [chunk.tokens for chunk in chunks] == [0] * encoding + list(range(1, 17))
    assert all(chunk.finish_reason is None and chunk.stats is None for chunk in chunks[:-1])
    stats = chunks[-1].stats
    assert (stats.images_encoded, stats.images_cached, stats.cached_tokens) == (3, 0, 0)
    assert stats.image_tokens == 3 * generator.vila.image_tokens(48, 64)
    assert stats.prompt_tokens > stats.image_tokens
    assert 0 < stats.vision_time < stats.time_to_first_token < stats.total_time
    assert stats.tokens_per_second > 0


def test_a_prompt_that_waits_for_anothers_says_that_work_goes_on(vila, ask, answer):
    """Else whoever watches for progress takes the wait for a hang."""
    submitted = threading.Event()

    class Waiting(Decoder):
        def prefill(self, *args, **fields):
            submitted.wait()
            return super().prefill(*args, **fields)

    def encoding_chunks(stream):
        return sum(chunk.stage is Stage.ENCODING for chunk in stream)

    generator = Generator(vila, decoder=lambda cache: Waiting(vila.language_model, cache))
    first = generator.submit(ask("word " * 200, request_id="1"))
    second = generator.submit(ask("and this?", request_id="2"))
    submitted.set()
    pieces = answer(first)[1].stats.prompt_tokens // ROWS_AT_ONCE["cpu"]
    behind = encoding_chunks(second)
    assert behind >= encoding_chunks(generator.submit(ask("or what?"))) + pieces
    generator.close()


def test_a_stop_string_ends_the_text_before_it(generator, ask, answer):
    whole, _ = answer(generator.submit(ask("what?")))
    at = len(whole) // 2
    stop = whole[at : at + 3]
    text, last = answer(generator.submit(ask("what?", stop=(stop,))))
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason is FinishReason.STOP
    assert last.tokens < 16


def test_a_stop_token_ends_the_text(vila, ask, answer, monkeypatch):
    generator = Generator(vila)
    whole, _ = answer(generator.submit(ask("what?")))
    ids = vila.tokenizer.encode(whole, add_special_tokens=False)
    # The model's third token becomes its end.
    embeddings = vila.embed_prompt(vila.render(ask("what?").messages))
    generator.close()
    generated = vila.language_model.generate(
        inputs_embeds=embeddings[None], max_new_tokens=3, do_sample=False, pad_token_id=0
    )[0].tolist()
    assert len(ids) >= 3
    monkeypatch.setitem(vila.__dict__, "stop_token_ids", (generated[2],))
    generator = Generator(vila)
    text, last = answer(generator.submit(ask("what?")))
    assert text == vila.tokenizer.decode(generated[: generated.index(generated[2])])
    assert last.finish_reason is FinishReason.STOP
    generator.close()


# Caches


def test_a_sliding_window_encodes_one_image_a_step(generator, ask, answer, images):
    counts = []
    for step in range(5):
        keys = [f"front@{i}" for i in range(step, step + 8)]
        stream = generator.submit(ask("what?", images[step : step + 8], keys))
        stats = answer(stream)[1].stats
        counts.append((stats.images_encoded, stats.images_cached))
    assert counts == [(8, 0)] + [(1, 7)] * 4


def test_images_without_keys_are_known_by_their_pixels(generator, ask, answer, images):
    answer(generator.submit(ask("what?", images[:3])))
    stats = answer(generator.submit(ask("why?", [image.copy() for image in images[1:4]])))[1].stats
    assert (stats.images_encoded, stats.images_cached) == (1, 2)


def test_the_same_image_twice_is_encoded_once(generator, ask, answer, plain, images):
    request = ask("same?", [images[0], images[0]])
    text, last = answer(generator.submit(request))
    assert (last.stats.images_encoded, last.stats.images_cached) == (1, 1)
    assert text == plain(request)


def test_a_second_question_on_the_same_frames_reuses_them(generator, ask, answer, plain, images):
    answer(generator.submit(ask("what is it?", images[:6], system="Be brief.")))
    request = ask("why is it?", images[:6], system="Be brief.")
    text, last = answer(generator.submit(request))
    assert text == plain(request)
    assert last.stats.images_encoded == 0
    assert last.stats.cached_tokens >= last.stats.image_tokens
    # The embeddings are not even needed then.
    generator.embeddings.clear()
    assert answer(generator.submit(request))[1].stats.images_encoded == 0


def test_another_image_under_the_same_text_is_not_reused(generator, ask, answer, plain, images):
    answer(generator.submit(ask("what is it?", images[:2])))
    request = ask("what is it?", [images[0], images[5]])
    text, last = answer(generator.submit(request))
    assert text == plain(request)
    assert (last.stats.images_encoded, last.stats.images_cached) == (1, 1)


class Dictated:
    """A constraint that leaves one token at each step."""

    def __init__(self, tokens):
        self._tokens = list(tokens)

    def apply(self, logits):
        kept = logits[self._tokens[0]].clone()
        logits.fill_(-math.inf)
        logits[self._tokens[0]] = kept

    def accept(self, token):
        assert token == self._tokens.pop(0)

    def complete(self):
        return not self._tokens


def test_a_conversation_continues_after_its_own_answer(vila, generator, ask, answer, plain):
    """Rows of the generated tokens are kept, but for the last, which was never read."""
    words = vila.tokenizer.encode(" there is a red car on the road", add_special_tokens=False)
    first = ask("what is it?", max_tokens=100)
    text, before = answer(generator.submit(first, lambda: Dictated(words)))
    assert text == " there is a red car on the road"
    assert before.tokens == len(words)
    messages = (
        *first.messages,
        Message("assistant", (TextPart(text.strip()),)),
        Message("user", (TextPart("and why?"),)),
    )
    request = dataclasses.replace(first, messages=messages, max_tokens=16)
    text, last = answer(generator.submit(request))
    assert text == plain(request)
    assert last.stats.cached_tokens == before.stats.prompt_tokens + len(words) - 1


# Ends


def test_cancel_ends_between_tokens(generator, ask, answer):
    stream = generator.submit(ask("talk", request_id="long", max_tokens=LONG))
    for _ in range(3):
        next(stream)
    generator.cancel("long")
    chunks = []
    with pytest.raises(Cancelled):
        chunks.extend(stream)
    assert all(chunk.tokens < LONG for chunk in chunks)
    with pytest.raises(StopIteration):
        next(stream)
    assert answer(generator.submit(ask("and now?")))[1].finish_reason is not None


def test_closing_or_dropping_the_stream_cancels(vila, ask, answer):
    steps = []

    class Noting(Decoder):
        def decode(self, rows, tokens):
            steps.append(rows)
            return super().decode(rows, tokens)

    generator = Generator(
        vila, max_concurrency=1, decoder=lambda cache: Noting(vila.language_model, cache)
    )
    stream = generator.submit(ask("talk", max_tokens=LONG))
    next(stream)
    stream.close()
    dropped = generator.submit(ask("talk", max_tokens=LONG))
    del dropped
    # The only slot comes free although nobody reads the others to their end.
    assert answer(generator.submit(ask("and now?")))[1].tokens == 16
    assert len(steps) < LONG
    generator.close()


def test_cancelling_unknown_or_waiting_requests(vila, ask):
    generator = Generator(vila, max_concurrency=1)
    generator.cancel("nobody")
    running = generator.submit(ask("talk", max_tokens=LONG))
    waiting = generator.submit(ask("wait", request_id="waiting"))
    generator.cancel("waiting")
    with pytest.raises(Cancelled):
        next(waiting)
    assert next(running).stage is Stage.ENCODING
    generator.close()


def test_close_ends_what_is_in_flight(vila, ask):
    generator = Generator(vila, max_concurrency=1)
    streams = [generator.submit(ask("talk", max_tokens=LONG)) for _ in range(3)]
    generator.close()
    for stream in [*streams, generator.submit(ask("late"))]:
        with pytest.raises(Cancelled, match="closed"):
            list(stream)


def test_deadline_ends_between_tokens(generator, ask):
    deadline = time.monotonic() + 0.2
    chunks = []
    with pytest.raises(DeadlineExceeded, match="tokens; allow more time"):
        chunks.extend(generator.submit(ask("talk", max_tokens=LONG, deadline=deadline)))
    with pytest.raises(DeadlineExceeded, match="after 0 tokens"):
        list(generator.submit(ask("talk", deadline=time.monotonic() - 1)))


# Errors


def test_a_prompt_over_the_context_names_the_counts(generator, ask, images):
    with pytest.raises(
        PromptTooLong, match=r"\d+ text tokens, 8 image tokens and 2040 .* context of 2048"
    ) as raised:
        list(generator.submit(ask("what?", images[:2], max_tokens=2040)))
    assert str(generator.vila.image_tokens(48, 64) * 2) in raised.value.message


def test_too_many_images_name_the_counts(generator, ask, images):
    count = 2048 // generator.vila.image_tokens(48, 64) + 1
    with pytest.raises(TooManyFrames, match=f"{count} images take .* context of 2048"):
        list(generator.submit(ask("what?", [images[0]] * count)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -0.1}, "temperature is -0.1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"stop": ("",)}, "empty stop"),
        ({"choices": ("a", "")}, "empty"),
        ({"choices": ("a", "a")}, "distinct"),
        ({"choices": ("a",), "json_schema": "{}"}, "exclude each other"),
    ],
)
def test_wrong_fields_are_refused_by_name(generator, ask, fields, message):
    stream = generator.submit(ask("what?", **fields))
    with pytest.raises(InvalidRequest, match=message):
        next(stream)


class Failing(Decoder):
    """A decoder that fails on purpose, once, at a decode step of at least `rows` rows."""

    def __init__(self, language_model, cache, rows, fail):
        super().__init__(language_model, cache)
        self._rows = rows
        self._fail = fail

    def decode(self, rows, tokens):
        if self._fail and len(rows) >= self._rows:
            fail, self._fail = self._fail, None
            fail()
        return super().decode(rows, tokens)


def exhaust_memory():
    torch.empty(1 << 60, dtype=torch.uint8)


def exhaust_gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has …")


def break_down():
    raise RuntimeError("no such kernel")


@pytest.mark.parametrize(
    ("fail", "asked"),
    [(exhaust_memory, r"1152921504606846976 bytes"), (exhaust_gpu_memory, r"2\.50 GiB")],
)
def test_out_of_memory_ends_the_youngest_alone(vila, ask, answer, plain, fail, asked):
    generator = Generator(vila, decoder=lambda cache: Failing(vila.language_model, cache, 2, fail))
    first = generator.submit(ask("one", request_id="1", max_tokens=600))
    next(first)
    second = generator.submit(ask("two", request_id="2"))
    with pytest.raises(OutOfMemory, match=rf"asked {asked}, \d+\.\d\d GiB free on cpu"):
        list(second)
    assert answer(first)[1].tokens == 600
    request = ask("three", request_id="3")
    assert answer(generator.submit(request))[0] == plain(request)
    generator.close()


def test_a_failure_inside_ends_the_answers_but_not_the_generator(vila, ask, answer, plain):
    generator = Generator(
        vila, decoder=lambda cache: Failing(vila.language_model, cache, 1, break_down)
    )
    with pytest.raises(EngineFailed, match="no such kernel"):
        list(generator.submit(ask("one")))
    request = ask("two")
    assert answer(generator.submit(request))[0] == plain(request)
    generator.close()
