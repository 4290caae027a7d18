# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""TensorRtLlmPytorchEngine against the LLM API's contract of 1.0 and of 1.2.1."""

from __future__ import annotations

import json
import time

import pytest
import xgrammar

from test.contracts.conftest import BLUE, LLM_RELEASES, RED, ask
from vila_ros.engine.interface import (
    FinishReason,
    GenerationRequest,
    Message,
    Stage,
    TextPart,
    VideoPart,
)
from vila_ros.engine.single_turn import choices_grammar
from vila_ros.engine.tensorrt_llm_pytorch import TensorRtLlmPytorchEngine
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    EngineFailed,
    InvalidCheckpoint,
    InvalidRequest,
    InvalidSchema,
    OutOfMemory,
    PromptTooLong,
    TooManyFrames,
    Unsupported,
)

SCHEMA = json.dumps(
    {"type": "object", "properties": {"car": {"type": "boolean"}}, "required": ["car"]}
)


@pytest.fixture(params=list(LLM_RELEASES), ids=lambda name: f"tensorrt_llm {name}")
def release(request, install):
    return install(LLM_RELEASES[request.param])


@pytest.fixture
def engine(release, checkpoint):
    engine = TensorRtLlmPytorchEngine(str(checkpoint), max_concurrency=2, context_length=512)
    yield engine
    engine.close()


def text_of(engine, request) -> str:
    return "".join(chunk.text for chunk in engine.generate(request))


def test_what_vila_lacks_in_this_backend_is_off_and_no_code_of_the_folder_is_trusted(
    engine, release
):
    capabilities = engine.load()

    (loading,) = release.calls("LLM")
    assert loading["enable_chunked_prefill"] is False
    assert loading["trust_remote_code"] is False
    assert loading["guided_decoding_backend"] == "xgrammar"
    assert loading["max_num_tokens"] == loading["max_seq_len"] == 512
    (cache,) = release.calls("KvCacheConfig")
    assert cache["enable_block_reuse"] is False
    assert capabilities.structured_output
    assert capabilities.max_concurrency == 2
    assert capabilities.tokens_per_image == 5  # four, and the newline that the backend adds
    assert capabilities.max_images == 512 // 5


def test_the_prompt_is_the_users_turn_with_marks_in_place_of_the_images(engine, release):
    engine.load()

    chunks = list(engine.generate(ask("look", RED, "and", BLUE, "closely")))

    (call,) = release.calls("LLM.generate_async")
    assert call["inputs"]["prompt"] == "look<image>and<image>closely"
    pictures = call["inputs"]["multi_modal_data"]["image"]
    assert [picture.getpixel((0, 0)) for picture in pictures] == [(255, 0, 0), (0, 0, 255)]
    assert [chunk.stage for chunk in chunks[:2]] == [Stage.QUEUED, Stage.ENCODING]
    assert "".join(chunk.text for chunk in chunks).startswith("vicuna_v1: look image and")
    assert chunks[-1].finish_reason is FinishReason.STOP
    assert chunks[-1].stats.images_encoded == 2
    assert chunks[-1].stats.image_tokens == 10
    assert chunks[-1].stats.completion_tokens == chunks[-1].tokens > 0


def test_a_clip_is_given_as_a_video(engine, release):
    engine.load()

    said = text_of(engine, ask(VideoPart((RED.pixels, BLUE.pixels)), "what happens"))

    assert "video" in said
    assert "2 frames" in said


def test_text_alone_is_given_without_media(engine, release):
    engine.load()
    text_of(engine, ask("hello"))

    (call,) = release.calls("LLM.generate_async")
    assert call["inputs"] == {"prompt": "hello"}


def test_examples_are_written_into_the_one_turn_between_the_templates_marks(engine, release):
    engine.load()
    messages = (
        Message("system", (TextPart("Be short."),)),
        Message("user", (RED, TextPart("which colour"))),
        Message("assistant", (TextPart("red"),)),
        Message("user", (BLUE, TextPart("and this"))),
    )

    text_of(engine, GenerationRequest(request_id="few", messages=messages))

    (call,) = release.calls("LLM.generate_async")
    assert call["inputs"]["prompt"] == (
        "Be short.\n\n<image>which colour ASSISTANT: red</s>USER: <image>and this"
    )


def test_a_mark_in_a_users_text_is_not_taken_for_an_image(engine, release):
    engine.load()
    text_of(engine, ask(RED, "what does <image> mean"))

    (call,) = release.calls("LLM.generate_async")
    assert call["inputs"]["prompt"].count("<image>") == 1


@pytest.mark.parametrize(
    ("name", "conversation", "template"),
    [
        ("anything", "llama_3", "llama_3"),
        ("vila1.5-3b-copy", "hermes-2", "hermes-2"),
        ("my-llama-3-robot", "vicuna_v1", "vicuna_v1"),
    ],
)
def test_the_template_is_the_models_whatever_its_path_says(
    release, checkpoint, tmp_path, name, conversation, template
):
    (tmp_path / name).symlink_to(checkpoint, target_is_directory=True)
    engine = TensorRtLlmPytorchEngine(str(tmp_path / name), conversation=conversation)
    engine.load()

    assert text_of(engine, ask("hello")).startswith(f"{template}:")
    engine.close()


def test_a_template_that_the_backend_lacks_is_refused(release, checkpoint):
    engine = TensorRtLlmPytorchEngine(str(checkpoint), conversation="llama_3_first")

    with pytest.raises(Unsupported, match="llama_3_first"):
        engine.load()


def test_json_is_held_to_its_schema_by_the_runtime(engine, release):
    engine.load()

    assert json.loads(text_of(engine, ask("is there a car", json_schema=SCHEMA))) == {"car": False}
    (guide,) = release.calls("GuidedDecodingParams")
    assert json.loads(guide["json"])["properties"].keys() == {"car"}


def test_a_schema_that_a_grammar_cannot_hold_is_refused_before_the_runtime_sees_it(engine, release):
    engine.load()

    with pytest.raises(InvalidSchema):
        text_of(engine, ask("what", json_schema='{"type": "object", "if": {}}'))
    assert release.calls("LLM.generate_async") == []


def test_an_answer_is_one_of_the_choices(engine):
    engine.load()

    assert text_of(engine, ask("is it", choices=("not at all", "yes"))) == "not at all"


def test_the_choices_grammar_accepts_them_alone_in_the_real_xgrammar():
    choices = ("yes", 'no "way"', "back\\slash", "zwölf\n", "日本")
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"</s>"]
    info = xgrammar.TokenizerInfo(vocabulary, stop_token_ids=[256])
    grammar = xgrammar.GrammarCompiler(info).compile_grammar(choices_grammar(choices))

    def accepts(text: str) -> bool:
        matcher = xgrammar.GrammarMatcher(grammar)
        return all(matcher.accept_token(byte) for byte in text.encode()) and matcher.accept_token(
            256
        )

    assert [accepts(choice) for choice in choices] == [True] * len(choices)
    assert [accepts(other) for other in ("ye", "yess", "no", "")] == [False] * 4
    with pytest.raises(InvalidRequest):
        choices_grammar(("yes", ""))


def test_sampling_is_greedy_at_temperature_0_and_seeded_above(engine, release):
    engine.load()
    text_of(engine, ask("a", max_tokens=7))
    text_of(engine, ask("a", temperature=0.5, top_p=0.9, seed=-1))

    greedy, sampled = release.calls("SamplingParams")
    assert greedy["top_k"] == 1
    assert "temperature" not in greedy
    assert greedy["max_tokens"] == 7
    assert (sampled["temperature"], sampled["top_p"]) == (0.5, 0.9)
    assert sampled["seed"] >= 0
    assert sampled["stop"] == ["</s>"]


def test_an_answer_ends_at_max_tokens(engine):
    engine.load()

    last = list(engine.generate(ask("one two three four", max_tokens=2)))[-1]

    assert last.finish_reason is FinishReason.LENGTH
    assert last.tokens == 2


def test_a_stop_string_is_never_begun_in_the_stream_and_ends_the_answer(engine, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.005")
    engine.load()

    chunks = list(engine.generate(ask("look at the road", stop=("at the",))))

    assert "".join(chunk.text for chunk in chunks) == "vicuna_v1: look "
    assert chunks[-1].finish_reason is FinishReason.STOP


def test_cancel_aborts_in_the_runtime(engine, release, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.01")
    engine.load()
    stream = engine.generate(ask("word " * 200, request_id="long"))
    while not next(stream).tokens:
        pass

    engine.cancel("long")

    with pytest.raises(Cancelled):
        list(stream)
    assert len(release.calls("Answering.abort")) == 1
    assert text_of(engine, ask("next")).endswith("next")


def test_a_deadline_is_kept_while_the_runtime_says_nothing(engine, monkeypatch):
    """result(timeout) would wait for ever in some releases."""
    monkeypatch.setenv("CONTRACT_DELAY", "60")
    engine.load()

    with pytest.raises(DeadlineExceeded):
        text_of(engine, ask("slow", deadline=time.monotonic() + 0.2))


def test_a_request_cancelled_while_its_images_are_encoded_is_aborted_after_that(
    engine, release, monkeypatch
):
    monkeypatch.setenv("CONTRACT_VISION", "0.3")
    engine.load()

    while not release.calls("LLM.generate_async"):  # which a busy machine may not reach in time
        with pytest.raises(DeadlineExceeded):
            text_of(engine, ask(RED, "what", deadline=time.monotonic() + 0.05))

    monkeypatch.setenv("CONTRACT_VISION", "0")
    assert text_of(engine, ask("next")).endswith("next")
    assert len(release.calls("Answering.abort")) == 1


def test_a_whole_answer_is_not_aborted(engine, release):
    engine.load()
    text_of(engine, ask("hello"))

    assert release.calls("Answering.abort") == []


def test_more_requests_than_the_batch_wait_and_are_answered(engine, monkeypatch):
    monkeypatch.setenv("CONTRACT_DELAY", "0.002")
    engine.load()
    streams = [engine.generate(ask("word " * 5, request_id=str(i))) for i in range(2)]
    for stream in streams:
        while not next(stream).tokens:
            pass
    third = engine.generate(ask("third", request_id="third"))
    assert next(third).stage is Stage.QUEUED

    for stream in streams:
        list(stream)

    assert "".join(chunk.text for chunk in third).endswith("third")


def test_closing_shuts_the_runtime_down_and_refuses_what_comes(engine, release):
    engine.load()
    engine.close()

    assert len(release.calls("LLM.shutdown")) == 1
    with pytest.raises(EngineDown):
        engine.generate(ask("too late"))


def test_too_many_images_are_refused_by_the_tokens_they_take(engine, release):
    engine.load()

    with pytest.raises(TooManyFrames, match="use fewer frames"):
        text_of(engine, ask(*[RED] * 103, "what"))
    assert release.calls("LLM.generate_async") == []


def test_a_prompt_too_long_for_the_runtime_is_told_as_such(engine):
    engine.load()

    with pytest.raises(PromptTooLong, match="max_num_tokens"):
        text_of(engine, ask("word " * 600))


def test_images_and_clips_in_one_request_are_refused(engine):
    engine.load()

    with pytest.raises(Unsupported, match="images or clips"):
        text_of(engine, ask(RED, VideoPart((BLUE.pixels,)), "what"))


@pytest.mark.parametrize(
    ("said", "error"),
    [("CUDA out of memory. Tried to allocate 2 GiB", OutOfMemory), ("boom", EngineFailed)],
)
def test_an_error_of_the_runtime_is_told_in_its_words(engine, monkeypatch, said, error):
    monkeypatch.setenv("CONTRACT_ERROR", said)
    engine.load()

    with pytest.raises(error, match=said.split()[0]):
        text_of(engine, ask("a long question"))


def test_a_folder_that_names_code_to_run_is_refused_unless_it_is_allowed(
    release, checkpoint, tmp_path
):
    folder = tmp_path / "coded"
    folder.mkdir()
    for part in checkpoint.iterdir():
        (folder / part.name).symlink_to(part)
    config = json.loads((checkpoint / "config.json").read_text())
    (folder / "config.json").unlink()
    config["auto_map"] = {"AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(InvalidCheckpoint, match="auto_map"):
        TensorRtLlmPytorchEngine(str(folder)).load()

    allowed = TensorRtLlmPytorchEngine(str(folder), allow_remote_code=True)
    allowed.load()
    assert release.calls("LLM")[-1]["trust_remote_code"] is True
    allowed.close()


def test_int4_is_read_from_the_root_and_a_misplaced_file_is_told(release, checkpoint, tmp_path):
    folder = tmp_path / "int4"
    folder.mkdir()
    for part in checkpoint.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "W4A16_AWQ"}}')
    engine = TensorRtLlmPytorchEngine(str(folder))
    assert engine.load().dtype == "W4A16_AWQ"
    engine.close()

    (folder / "llm").unlink()
    (folder / "llm").mkdir()
    for part in (checkpoint / "llm").iterdir():
        (folder / "llm" / part.name).symlink_to(part)
    (folder / "hf_quant_config.json").rename(folder / "llm" / "hf_quant_config.json")
    with pytest.raises(InvalidCheckpoint, match="copy it to"):
        TensorRtLlmPytorchEngine(str(folder)).load()


@pytest.mark.parametrize(
    "wrong",
    [
        {"kv_cache_fraction": 1.0},
        {"max_concurrency": 0},
        {"context_length": 0},
        {"options": {"enable_chunked_prefill": True}},
    ],
)
def test_options_that_cannot_be_are_refused_at_once(checkpoint, wrong):
    with pytest.raises(InvalidRequest):
        TensorRtLlmPytorchEngine(str(checkpoint), **wrong)


def test_an_option_that_the_release_lacks_fails(install, checkpoint):
    """The contracts notice a wrong keyword."""
    recorder = install("v1_0")
    engine = TensorRtLlmPytorchEngine(str(checkpoint), options={"sampler_type": "auto"})

    with pytest.raises(recorder.ContractViolation, match="sampler_type"):
        engine.load()


def test_without_the_runtime_the_message_names_the_setting(checkpoint):
    with pytest.raises(Unsupported, match=r"engine\.interpreter"):
        TensorRtLlmPytorchEngine(str(checkpoint)).load()
