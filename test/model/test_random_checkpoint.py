# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Random checkpoints: whole, small, the same again, and of the published sizes."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from test.model.conftest import picture
from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.errors import InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_config
from vila_ros.model.language_model import build_language_model
from vila_ros.model.parity import greedy
from vila_ros.model.random_checkpoint import SHAPES, write_random_checkpoint
from vila_ros.model.vision_tower import VisionTower


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_tiny_is_small_and_answers(tiny: Path):
    assert sum(path.stat().st_size for path in tiny.rglob("*") if path.is_file()) < 1_000_000
    vila = load_vila(tiny)
    asked = Message("user", (ImagePart(picture(48, 64)), TextPart("What?")))
    embeddings = vila.embed_prompt(vila.render([asked]))
    with torch.no_grad():
        _, tokens = greedy(vila.language_model, embeddings, 8)
    assert len(tokens) == 8
    assert vila.tokenizer.decode(tokens)


def test_the_same_arguments_write_the_same_bytes(tiny: Path, tmp_path: Path):
    assert digests(write_random_checkpoint(tmp_path / "again")) == digests(tiny)
    other = digests(write_random_checkpoint(tmp_path / "other", seed=1))
    assert other["llm/model.safetensors"] != digests(tiny)["llm/model.safetensors"]


def test_shards_are_as_good_as_one_file(tiny: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vila_ros.model.random_checkpoint.SHARD_BYTES", 100_000)
    sharded = write_random_checkpoint(tmp_path / "sharded")
    assert (sharded / "llm" / "model.safetensors.index.json").is_file()
    image = picture(48, 64)
    mine, whole = (load_vila(folder).encode_images([image])[0] for folder in (sharded, tiny))
    assert torch.equal(mine, whole)


def test_a_tokenizer_that_fills_its_vocabulary(tiny: Path):
    tokenizer = load_vila(tiny).tokenizer
    assert len(tokenizer) == SHAPES["tiny"].vocabulary
    for text in ("Hello, world!", "naïve 世界 🙂", " two  spaces\n"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_other_projectors_and_keys(tmp_path: Path):
    folder = write_random_checkpoint(
        tmp_path / "r",
        overrides={"mm_projector_type": "mlp2x_gelu", "image_aspect_ratio": "pad"},
    )
    vila = load_vila(folder)
    assert vila.config.projector == "mlp2x_gelu"
    assert vila.image_tokens(10, 20) == 16


@pytest.mark.parametrize(
    ("shape", "language", "vision"),
    [
        ("vila1.5-3b", 2_701_560_320, 412_442_352),
        ("vila1.5-8b", 8_030_261_248, 412_442_352),
        ("vila1.5-13b", 13_015_864_320, 412_442_352),
    ],
)
def test_sizes_of_the_published_models(
    shape: str, language: int, vision: int, tmp_path: Path, monkeypatch
):
    """Parameters of Sheared-LLaMA-2.7B, Llama-3-8B, Vicuna-13B, and SigLIP-so400m (428,225,600
    with its pooling head) up to the last layer but one."""
    monkeypatch.setattr("vila_ros.model.random_checkpoint._write_weights", lambda *_: None)
    config = read_config(write_random_checkpoint(tmp_path / "r", shape))
    with torch.device("meta"):
        parts = build_language_model(config.language), VisionTower.from_config(config)
    counts = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert counts[0] == language
    assert abs(counts[1] - vision) < 20_000_000


def test_every_shape_has_its_tokenizer(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("vila_ros.model.random_checkpoint._write_weights", lambda *_: None)
    folder = write_random_checkpoint(tmp_path / "r", "vila1.5-8b")
    data = json.loads((folder / "llm" / "tokenizer.json").read_text())
    assert len(data["model"]["vocab"]) == 128256


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"shape": "vila-7b"}, "'vila-7b' is unknown; known are tiny"), ({"dtype": "int8"}, "'int8'")],
)
def test_unknown_arguments(tmp_path: Path, arguments: dict, says: str):
    with pytest.raises(InvalidRequest, match=says):
        write_random_checkpoint(tmp_path / "r", **arguments)
