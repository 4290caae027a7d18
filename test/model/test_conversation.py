# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Templates, as the literal strings that models were trained on, and how one is chosen."""

import logging
import shutil
from pathlib import Path

import pytest

from test.model.conftest import NVILA, VILA15, edit_json, make_variant
from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.config import read_config
from vila_ros.model.conversation import (
    TEMPLATES,
    TokenizerTemplate,
    Turn,
    choose_conversation,
    find_template,
)
from vila_ros.model.tokenizer import load_tokenizer

ASK = [Turn("user", "<image>\nWhat is it?")]
EXAMPLE = [Turn("user", "Q1"), Turn("assistant", "A1"), Turn("user", "Q2")]
SYSTEM = [Turn("system", "Be brief."), Turn("user", "Q")]

VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions."
)
LLAMA_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual "
    "content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
)


@pytest.mark.parametrize(
    ("name", "turns", "expected"),
    [
        ("vicuna_v1", ASK, f"{VICUNA_SYSTEM} USER: <image>\nWhat is it? ASSISTANT:"),
        ("vicuna_v1", EXAMPLE, f"{VICUNA_SYSTEM} USER: Q1 ASSISTANT: A1</s>USER: Q2 ASSISTANT:"),
        ("vicuna_v1", SYSTEM, "Be brief. USER: Q ASSISTANT:"),
        (
            "llama_3",
            EXAMPLE,
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            f"{LLAMA_SYSTEM}<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ1<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "llama_3_first",
            EXAMPLE,
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            f"{LLAMA_SYSTEM}<|end_of_text|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ1<|end_of_text|>"
            "<|start_header_id|>system<|end_header_id|>\n\nA1<|end_of_text|>"
            "<|start_header_id|>user<|end_header_id|>\n\nQ2<|end_of_text|>"
            "<|start_header_id|>system<|end_header_id|>\n\n",
        ),
        (
            "hermes-2",
            EXAMPLE,
            "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\nQ1<|im_end|>"
            "<|im_start|>assistant\nA1<|im_end|><|im_start|>user\nQ2<|im_end|>"
            "<|im_start|>assistant\n",
        ),
        (
            "qwen2",
            EXAMPLE,
            "<|im_start|>system\nYou are a helpful assistant<|im_end|>\n<|im_start|>user\nQ1"
            "<|im_end|>\n<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
        ("plain", [Turn("user", "<image>")], "<image>\n"),
    ],
)
def test_prompts(name: str, turns: list[Turn], expected: str):
    assert TEMPLATES[name].prompt(turns) == expected


def test_a_finished_conversation_opens_no_answer():
    turns = [Turn("user", "Q"), Turn("assistant", "A")]
    assert TEMPLATES["vicuna_v1"].prompt(turns) == f"{VICUNA_SYSTEM} USER: Q ASSISTANT: A</s>"


@pytest.fixture(scope="module")
def nvila_tokenizer():
    return load_tokenizer(NVILA / "checkpoint" / "llm", "nvila")


@pytest.mark.parametrize("turns", [ASK, EXAMPLE, SYSTEM], ids=["ask", "example", "system"])
def test_the_tokenizers_template_is_run(nvila_tokenizer, turns: list[Turn]):
    template = TokenizerTemplate(nvila_tokenizer)
    assert template.prompt(turns) == TEMPLATES["qwen2"].prompt(turns)
    assert template.stop_strings == ("<|im_end|>",)


def test_a_tokenizers_template_cannot_reach_the_machine(nvila_tokenizer):
    evil = TokenizerTemplate(load_tokenizer(NVILA / "checkpoint" / "llm", "nvila"))
    evil.tokenizer.chat_template = "{{ messages.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InvalidCheckpoint, match="chat template fails"):
        evil.prompt(ASK)


@pytest.mark.parametrize(
    "roles", [[], ["system"], ["assistant"], ["user", "user"], ["user", "system"]]
)
def test_turns_out_of_order(roles: list[str]):
    with pytest.raises(InvalidRequest, match="user and assistant alternating"):
        TEMPLATES["vicuna_v1"].prompt([Turn(role, "x") for role in roles])


def choose(folder: Path, explicit: str | None = None) -> str:
    config = read_config(folder)
    tokenizer = load_tokenizer(config.llm_folder, config.generation)
    return choose_conversation(explicit, config, tokenizer).name


def test_what_the_caller_names_wins(tmp_path: Path):
    folder = make_variant(VILA15, tmp_path / "VILA1.5-40b", conversation="llama_3")
    assert choose(folder, "plain") == "plain"
    assert choose(folder) == "llama_3"


def test_what_the_config_names_is_taken_without_a_warning(tmp_path: Path, caplog):
    folder = make_variant(VILA15, tmp_path / "Llama-3-VILA1.5-8b", conversation="vicuna_v1")
    assert choose(folder) == "vicuna_v1"
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("VILA1.5-3b", "vicuna_v1"),
        ("VILA1.5-3b-s2", "vicuna_v1"),
        ("VILA1.5-13b", "vicuna_v1"),
        ("VILA1.5-40b", "hermes-2"),
        ("Llama-3-VILA1.5-8b-Fix", "llama_3"),
        ("Llama-3-VILA1.5-8B", "llama_3_first"),
        ("my-8b-robot", "vicuna_v1"),
    ],
)
def test_a_name_is_asked_last_and_with_a_warning(tmp_path: Path, caplog, name: str, expected: str):
    shutil.copytree(VILA15 / "checkpoint", tmp_path / name)
    with caplog.at_level(logging.WARNING):
        assert choose(tmp_path / name) == expected
    assert f"conversation template {expected} chosen by" in caplog.text


def test_special_tokens_tell_more_than_nothing(tmp_path: Path, tiny: Path):
    shutil.copytree(tiny, tmp_path / "unnamed")
    edit_json(tmp_path / "unnamed" / "config.json", conversation=None)
    assert choose(tmp_path / "unnamed") == "llama_3"


def test_nvila_uses_its_tokenizers_template(tmp_path: Path, caplog):
    folder = make_variant(NVILA, tmp_path / "v", chat_template=None)
    assert choose(folder) == "tokenizer"
    assert choose(NVILA / "checkpoint") == "qwen2"
    assert not caplog.records


def test_unknown_names_list_the_known_ones(tmp_path: Path, nvila_tokenizer):
    with pytest.raises(InvalidRequest, match=r"'alpaca' is unknown; known are vicuna_v1, llama_3"):
        find_template("alpaca", nvila_tokenizer)
    folder = make_variant(VILA15, tmp_path / "v", conversation="alpaca")
    with pytest.raises(InvalidCheckpoint, match=r"config\.json: conversation template 'alpaca'"):
        choose(folder)


def test_a_tokenizer_without_a_template():
    tokenizer = load_tokenizer(VILA15 / "checkpoint" / "llm", "vila1.5")
    with pytest.raises(InvalidRequest, match="tokenizer has no chat template"):
        find_template("tokenizer", tokenizer)
