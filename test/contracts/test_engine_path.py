# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRtLlmEngine against the executor's contract of 0.12 and of 1.x."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
import torch

from test.contracts.conftest import BLUE, ENGINE_RELEASES, RED, ask, engine_dir
from vila_ros.engine.interface import (
    FinishReason,
    GenerationRequest,
    Message,
    Stage,
    TextPart,
    VideoPart,
)
from vila_ros.engine.tensorrt_llm_engine import TensorRtLlmEngine
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    InvalidRequest,
    OutOfMemory,
    PromptTooLong,
    TooManyFrames,
    Unsupported,
)

VOCABULARY = 576  # of the engine: AWQ pads the tokenizer's 512
ROWS = 4


@pytest.fixture(params=list(ENGINE_RELEASES), ids=lambda name: f"tensorrt_llm {name}")
def release(request, install):
    """The release's recorder, with the version that an engine for it is built by."""
    recorder = install(ENGINE_RELEASES[request.param])
    recorder.version = {"0.12": "0.12.0"}.get(request.param, request.param)
    return recorder


@pytest.fixture
def engine(release, checkpoint, tmp_path):
    folder = engine_dir(tmp_path / "engine", checkpoint, version=release.version)
    engine = TensorRtLlmEngine(str(folder), device="cpu")
    yield engine
    engine.close()


@pytest.fixture
def modern(install, checkpoint, tmp_path):
    """An engine on 1.2.1, and its recorder."""
    recorder = install("v1_2")
    engine = TensorRtLlmEngine(str(engine_dir(tmp_path / "engine", checkpoint)), device="cpu")
    yield engine, recorder
    engine.close()


def test_loading_tells_the_engines_limits(engine):
    assert engine.capabilities is None

    capabilities = engine.load()

    assert capabilities.max_images == 8
    assert capabilities.tokens_per_image == ROWS
    assert capabilities.context_length == 1024
    assert capabilities.max_concurrency == 2
    assert capabilities.dtype == "W4A16_AWQ"
    assert capabilities.runtime.startswith("tensorrt_llm_engine ")
    assert not capabilities.structured_output
    assert engine.capabilities == capabilities


def test_an_answer_streams_token_by_token_and_ends_with_its_account(engine):
    engine.load()

    chunks = list(engine.generate(ask("look", RED, "and", BLUE, "closely")))

    assert [chunk.stage for chunk in chunks[:2]] == [Stage.QUEUED, Stage.ENCODING]
    text = "".join(chunk.text for chunk in chunks)
    assert "look" in text
    assert "closely" in text
    last = chunks[-1]
    assert last.finish_reason is not None
    assert last.stats.image_tokens == 2 * ROWS
    assert last.stats.images_encoded == 2
    assert last.stats.prompt_tokens > last.stats.image_tokens
    assert [chunk.tokens for chunk in chunks] == sorted(chunk.tokens for chunk in chunks)


def test_images_stand_where_they_were_said_as_ids_behind_the_engines_vocabulary(engine, release):
    engine.load()

    list(engine.generate(ask("a", RED, "b", BLUE, "c")))

    (request,) = release.calls("Request")
    ids = request["input_token_ids"]
    first = ids.index(VOCABULARY)
    assert ids[first : first + ROWS] == [VOCABULARY + row for row in range(ROWS)]
    second = ids.index(VOCABULARY + ROWS)
    assert second > first + ROWS  # the text "b" stands between them
    assert ids[second : second + ROWS] == [VOCABULARY + ROWS + row for row in range(ROWS)]
    assert max(ids) == VOCABULARY + 2 * ROWS - 1
    (table,) = release.calls("PromptTuningConfig")
    assert table["embedding_table"].shape == (2 * ROWS, 64)


def test_two_images_without_text_between_them_both_arrive(engine, release):
    """TensorRT-LLM's own runner drops the second one."""
    engine.load()

    list(engine.generate(ask(RED, BLUE, "what changed")))

    (table,) = release.calls("PromptTuningConfig")
    rows = table["embedding_table"]
    assert rows.shape[0] == 2 * ROWS
    assert not torch.equal(rows[:ROWS], rows[ROWS:])


def test_the_table_holds_what_the_vision_tower_gives(engine, release, checkpoint):
    from vila_ros.model.checkpoint import load_vila

    engine.load()
    list(engine.generate(ask(RED, "what")))

    expected = load_vila(checkpoint).encode_images([RED.pixels])[0]
    (table,) = release.calls("PromptTuningConfig")
    torch.testing.assert_close(table["embedding_table"], expected)


def test_a_window_that_slides_by_a_frame_encodes_one_frame(engine):
    engine.load()
    list(engine.generate(ask(RED, BLUE, "what")))

    other = type(RED)(BLUE.pixels, key="front@3")
    stats = list(engine.generate(ask(BLUE, other, "what")))[-1].stats

    assert (stats.images_cached, stats.images_encoded) == (1, 1)


def test_an_image_said_twice_is_in_the_table_once(engine, release):
    engine.load()

    list(engine.generate(ask(RED, "a", RED, "b")))

    (table,) = release.calls("PromptTuningConfig")
    assert table["embedding_table"].shape[0] == ROWS


def test_equal_images_have_equal_extra_ids_across_requests_and_text_has_none(modern):
    engine, recorder = modern
    engine.load()
    list(engine.generate(ask(RED, "a", BLUE, "b")))
    list(engine.generate(ask(BLUE, "a", RED, "b")))

    (one, other) = recorder.calls("Request")
    (first, second) = recorder.calls("PromptTuningConfig")
    by_image = [set(), set()]
    for request, table, places in ((one, first, (0, 1)), (other, second, (1, 0))):
        for token, extra in zip(
            request["input_token_ids"], table["input_token_extra_ids"], strict=True
        ):
            if token < VOCABULARY:
                assert extra == 0
            else:
                by_image[places[(token - VOCABULARY) // ROWS]].add(extra)
    assert [len(extras) for extras in by_image] == [1, 1]
    assert by_image[0] != by_image[1]


@pytest.mark.parametrize(("paged", "wanted"), [(True, True), (False, False)])
def test_the_kv_cache_is_reused_only_by_engines_built_for_it(
    install, checkpoint, tmp_path, paged, wanted
):
    recorder = install("v1_2")
    plugins = {"use_paged_context_fmha": paged}
    folder = engine_dir(tmp_path / "engine", checkpoint, plugin_config=plugins)
    TensorRtLlmEngine(str(folder), device="cpu").load()

    (loading,) = recorder.calls("ModelRunnerCpp.from_dir")
    assert loading["kv_cache_enable_block_reuse"] is wanted


def test_the_kv_cache_is_never_reused_on_0_12_which_cannot_tell_images_apart(
    install, checkpoint, tmp_path
):
    recorder = install("v0_12_jetson")
    folder = engine_dir(tmp_path / "engine", checkpoint, version="0.12.0")
    TensorRtLlmEngine(str(folder), device="cpu").load()

    (loading,) = recorder.calls("ModelRunnerCpp.from_dir")
    assert loading["kv_cache_enable_block_reuse"] is False
    assert loading["use_mmap"] is True  # or a Jetson's shared memory holds the weights twice


def test_a_clip_is_seen_as_its_frames(engine, release):
    engine.load()

    clip = VideoPart((RED.pixels, BLUE.pixels), key="clip@1")
    stats = list(engine.generate(ask(clip, "what happens")))[-1].stats

    assert stats.images_encoded == 2
    assert stats.image_tokens == 2 * ROWS


def test_text_alone_needs_no_table(engine, release):
    engine.load()

    assert list(engine.generate(ask("hello")))[-1].finish_reason is not None
    assert release.calls("PromptTuningConfig") == []


def test_examples_and_a_system_text_go_through_the_checkpoints_own_template(
    engine, release, checkpoint
):
    from vila_ros.model.tokenizer import load_tokenizer

    engine.load()
    messages = (
        Message("system", (TextPart("Be short."),)),
        Message("user", (RED, TextPart("which colour"))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (BLUE, TextPart("and this"))),
    )
    list(engine.generate(GenerationRequest(request_id="few", messages=messages, max_tokens=9)))

    (request,) = release.calls("Request")
    tokenizer = load_tokenizer(checkpoint / "llm", "vila1.5")
    text = tokenizer.decode([i for i in request["input_token_ids"] if i < VOCABULARY])
    assert text == (
        "<s>Be short. USER: \nwhich colour ASSISTANT: red</s>USER: \nand this ASSISTANT:"
    )


def test_sampling_is_greedy_at_temperature_0_and_seeded_above(engine, release):
    engine.load()
    list(engine.generate(ask("a")))
    list(engine.generate(ask("a", temperature=0.7, top_p=0.9, seed=-3)))

    greedy, sampled = release.calls("SamplingConfig")
    assert greedy == {"beam_width": 1, "top_k": 1}
    seed = sampled.pop("seed", None) or sampled.pop("random_seed")
    assert seed >= 0
    assert sampled == {"beam_width": 1, "top_k": 0, "top_p": 0.9, "temperature": 0.7}


def test_an_answer_ends_at_max_tokens(engine):
    engine.load()

    last = list(engine.generate(ask("one two three", max_tokens=3)))[-1]

    assert last.finish_reason is FinishReason.LENGTH
    assert last.tokens == 3


def test_a_stop_string_ends_the_answer_in_front_of_it_and_frees_the_executor(engine, release):
    engine.load()

    chunks = list(engine.generate(ask("look at the road", stop=("the",))))

    assert "the" not in "".join(chunk.text for chunk in chunks)
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert len(release.calls("Executor.cancel_request")) == 1


def test_cancel_ends_a_request_between_two_tokens_and_in_the_executor(engine, release, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.01")
    engine.load()
    stream = engine.generate(ask("a long question about everything", request_id="long"))
    while not next(stream).tokens:
        pass

    engine.cancel("long")

    with pytest.raises(Cancelled):
        list(stream)
    assert len(release.calls("Executor.cancel_request")) == 1
    engine.cancel("unknown")


def test_closing_the_stream_cancels_in_the_executor(engine, release, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.01")
    engine.load()
    stream = engine.generate(ask("a long question about everything"))
    while not next(stream).tokens:
        pass

    stream.close()

    assert len(release.calls("Executor.cancel_request")) == 1


def test_a_deadline_ends_an_answer_that_takes_longer(engine, release, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "60")
    engine.load()

    for allowed in (0.3, 3.0, 20.0):
        with pytest.raises(DeadlineExceeded):
            list(engine.generate(ask("slow", deadline=time.monotonic() + allowed)))
        if release.calls("Executor.enqueue_request"):  # else a busy machine did not come so far
            break
    assert len(release.calls("Executor.cancel_request")) == 1


def test_requests_run_side_by_side(engine):
    engine.load()
    texts = {}

    def run(name: str) -> None:
        request = ask(RED, f"question {name}", request_id=name)
        texts[name] = "".join(chunk.text for chunk in engine.generate(request))

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {name: f"question {name}" in text for name, text in texts.items()} == dict.fromkeys(
        "abcd", True
    )


def test_closing_ends_what_is_in_flight_and_refuses_what_comes(engine, release, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.01")
    engine.load()
    stream = engine.generate(ask("a long question about everything"))
    ended: list[BaseException] = []

    def read() -> None:
        try:
            list(stream)
        except Cancelled as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    engine.close()
    reader.join()

    assert len(ended) == 1
    assert len(release.calls("Executor.shutdown")) == 1
    with pytest.raises(EngineDown):
        engine.generate(ask("too late"))


def test_an_error_of_the_runtime_is_told_in_its_words(engine, monkeypatch):
    monkeypatch.setenv("CONTRACT_ERROR", "[TensorRT-LLM][ERROR] something broke")
    engine.load()

    with pytest.raises(EngineFailed, match="something broke"):
        list(engine.generate(ask("a question")))


def test_running_out_of_memory_is_its_own_error(engine, monkeypatch):
    monkeypatch.setenv("CONTRACT_ERROR", "CUDA runtime error in cudaMalloc: out of memory")
    engine.load()

    with pytest.raises(OutOfMemory, match="out of memory while generating"):
        list(engine.generate(ask("a question")))


def test_more_images_than_the_table_holds_are_refused_with_the_count(engine):
    engine.load()

    with pytest.raises(TooManyFrames, match=r"9 images take 36 rows, this engine takes 32 \(8 im"):
        list(engine.generate(ask(*(type(RED)(RED.pixels, key=str(i)) for i in range(9)), "what")))


def test_a_prompt_beyond_the_engines_input_is_refused(engine):
    engine.load()

    with pytest.raises(PromptTooLong, match="max_input_len"):
        list(engine.generate(ask("word " * 600)))
    with pytest.raises(PromptTooLong, match="max_seq_len"):
        list(engine.generate(ask("word", max_tokens=1024)))


@pytest.mark.parametrize(
    "option", [{"json_schema": '{"type": "object"}'}, {"choices": ("yes", "no")}]
)
def test_what_the_engine_path_cannot_do_is_refused_with_what_can(engine, option):
    engine.load()

    with pytest.raises(Unsupported, match="tensorrt_llm_pytorch"):
        list(engine.generate(ask("what", **option)))


@pytest.mark.parametrize(
    "option", [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}]
)
def test_values_no_runtime_can_follow_are_refused(engine, option):
    engine.load()

    with pytest.raises(InvalidRequest):
        list(engine.generate(ask("what", **option)))


def test_a_request_id_in_flight_cannot_be_used_again(engine):
    engine.load()
    stream = engine.generate(ask("one"))

    with pytest.raises(InvalidRequest, match="in flight"):
        engine.generate(ask("two"))

    stream.close()
    list(engine.generate(ask("two")))


def test_an_engine_built_by_another_release_is_refused_before_it_is_loaded(
    install, checkpoint, tmp_path
):
    recorder = install("v1_2")
    folder = engine_dir(tmp_path / "engine", checkpoint, version="0.12.0")

    with pytest.raises(Unsupported, match=r"built by tensorrt_llm 0\.12\.0"):
        TensorRtLlmEngine(str(folder), device="cpu").load()
    assert recorder.calls("ModelRunnerCpp.from_dir") == []


@pytest.mark.parametrize(
    ("installed", "version", "wrong", "says"),
    [
        ("v0_12_jetson", "0.12.0", {"max_tokens": "max_tokens"}, "max_new_tokens"),
        ("v0_12_jetson", "0.12.0", {"extra_ids": True}, "input_token_extra_ids"),
        ("v1_2", "1.2.1", {"seed": "random_seed"}, "random_seed"),
    ],
)
def test_a_call_that_the_release_would_not_take_fails(
    install, checkpoint, tmp_path, monkeypatch, installed, version, wrong, says
):
    """The contracts notice names of another release."""
    recorder = install(installed)
    folder = engine_dir(tmp_path / "engine", checkpoint, version=version)
    engine = TensorRtLlmEngine(str(folder), device="cpu")
    engine.load()
    monkeypatch.setattr(engine, "_api", replace(engine._api, **wrong))

    with pytest.raises(recorder.ContractViolation, match=says):
        list(engine.generate(ask(RED, "what", temperature=0.5)))
