# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenizers: the slow one against recorded results of transformers 4.36.2 and sentencepiece."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from test.model.conftest import DATA, NVILA, VILA15
from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.tokenizer import load_tokenizer

SLOW = VILA15 / "checkpoint" / "llm"
FAST = NVILA / "checkpoint" / "llm"
RECORDED = json.loads((DATA / "slow_llama_tokenizer.json").read_text())
SPECIAL = ("<s>", "</s>", "<unk>")

slow = load_tokenizer(SLOW, "vila1.5")
sentencepiece = SentencePieceProcessor(model_file=str(SLOW / "tokenizer.model"))


@pytest.mark.parametrize("case", RECORDED, ids=range(len(RECORDED)))
def test_ids_and_texts_of_the_reference(case: dict):
    assert slow(case["text"]).input_ids == case["ids"]
    assert slow.decode(case["ids"][1:]) == case["decoded"]
    assert slow.decode(case["ids"][1:], skip_special_tokens=True) == case["without_special"]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_text_without_special_tokens_is_what_sentencepiece_makes_of_it(text: str):
    if any(token in text for token in SPECIAL):
        return
    expected = sentencepiece.encode(text.replace("▁", " "))
    assert slow(text).input_ids == [1, *expected]


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_decoding_gives_the_text_back(text: str):
    if any(token in text for token in SPECIAL) or "▁" in text or "\0" in text:
        return
    assert slow.decode(slow(text).input_ids[1:]) == text


def test_special_tokens_stand_for_themselves():
    ids = slow("a</s>b").input_ids
    assert ids[0] == 1
    assert ids.count(2) == 1


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_the_fast_tokenizer_is_its_file(text: str):
    assert FAST_TOKENIZER(text).input_ids == FILE.encode(text).ids


FAST_TOKENIZER = load_tokenizer(FAST, "nvila")
FILE = Tokenizer.from_file(str(FAST / "tokenizer.json"))


def test_media_tokens_are_added_where_they_are_missing(tmp_path: Path):
    data = json.loads((FAST / "tokenizer.json").read_text())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["id"] < 500]
    settings = json.loads((FAST / "tokenizer_config.json").read_text())
    kept = {k: v for k, v in settings["added_tokens_decoder"].items() if int(k) < 500}
    settings["added_tokens_decoder"] = kept
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = load_tokenizer(tmp_path, "nvila")
    ids = tokenizer("<vila/sentinel><image><vila/video>").input_ids
    assert ids == [500, 501, 502]


def test_vila15_reads_the_sentencepiece_model_where_both_are_there(tmp_path: Path):
    shutil.copytree(SLOW, tmp_path / "llm")
    shutil.copy(FAST / "tokenizer.json", tmp_path / "llm")
    assert load_tokenizer(tmp_path / "llm", "vila1.5")("hello").input_ids == slow("hello").input_ids


def test_no_tokenizer_names_what_was_looked_for(tmp_path: Path):
    with pytest.raises(InvalidCheckpoint, match=r"expected tokenizer.model, tokenizer.json"):
        load_tokenizer(tmp_path, "vila1.5")


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json"])
def test_a_broken_tokenizer_names_the_file(tmp_path: Path, name: str):
    shutil.copy(SLOW / "tokenizer_config.json", tmp_path)
    (tmp_path / name).write_bytes(b"\x00broken")
    with pytest.raises(InvalidCheckpoint, match=name):
        load_tokenizer(tmp_path, "vila1.5")


def test_code_that_a_tokenizer_names_is_not_run(tmp_path: Path):
    shutil.copytree(FAST, tmp_path / "llm")
    (tmp_path / "llm" / "evil.py").write_text("raise SystemExit('ran')")
    settings = json.loads((FAST / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    (tmp_path / "llm" / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_tokenizer(tmp_path / "llm", "nvila")("hello").input_ids
