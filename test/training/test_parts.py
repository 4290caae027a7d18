# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models of parts, and what is written of a model that learnt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from test.model.conftest import NVILA, NVILA_S2, VILA15, edit_json, picture
from test.training.test_finetune import base, data, finetune, weights
from vila_ros.cli.main import main
from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.training.parts import Parts, assemble
from vila_ros.training.writing import whole_folder, write_checkpoint

__all__ = ["base", "data"]


@pytest.fixture
def siglip(tmp_path: Path) -> Path:
    """Two towers in one folder, as SigLIP is published."""
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**sizes, "num_hidden_layers": 1, "vocab_size": 20, "projection_size": 16},
        vision_config={**sizes, "num_hidden_layers": 2, "image_size": 28, "patch_size": 14},
    )
    folder = tmp_path / "siglip"
    SiglipModel(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    preprocessor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


@pytest.fixture
def tied_language_model(base: Path, tmp_path: Path) -> Path:
    """A language model whose output layer is its embeddings."""
    folder = tmp_path / "llm"
    shutil.copytree(base / "llm", folder)
    edit_json(folder / "config.json", tie_word_embeddings=True)
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_parts_make_a_model(siglip: Path, tied_language_model: Path, tmp_path: Path):
    parts = Parts(siglip, tied_language_model, conversation="hermes-2")
    vila = load_vila(assemble(parts, tmp_path / "one"))
    assert vila.config.token_order == "row"
    assert vila.conversation.name == "hermes-2"
    again = load_vila(assemble(parts, tmp_path / "two"))
    other = load_vila(assemble(parts, tmp_path / "three", seed=1))
    rows = [v.encode_images([picture(30, 40)])[0] for v in (vila, again, other)]
    assert rows[0].shape == (1, 32)
    assert torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0], rows[2])


def test_a_model_of_parts_is_trained(siglip, tied_language_model, data: Path, tmp_path: Path):
    out = tmp_path / "made"
    given = ["--vision", str(siglip), "--llm", str(tied_language_model), "--out", str(out)]
    given += ["--conversation", "hermes-2", "--data", str(data), "--device", "cpu"]
    stages = ["--stages", "vila1.5", "--batch", "9", "--learning-rate", "1e-2", "--epochs", "0.7"]
    assert main(["finetune", *given, *stages, "--save-every", "1"]) == 0
    vila = load_vila(out)
    stored = load_file(tied_language_model / "model.safetensors")
    learnt = load_file(out / "llm" / "model.safetensors")
    assert stored.keys() == learnt.keys(), "the tied layer is stored once"
    assert not torch.equal(stored["model.embed_tokens.weight"], learnt["model.embed_tokens.weight"])
    assert vila.language_model.lm_head.weight is vila.language_model.model.embed_tokens.weight
    assert "from `siglip and llm`" in (out / "README.md").read_text()


def test_wrong_parts_are_refused(siglip: Path, base: Path, tmp_path: Path):
    llm = base / "llm"
    for parts, complaint in (
        (Parts(llm, llm), "'llama' is no vision tower"),
        (Parts(siglip, siglip), "has no tokenizer"),
        (Parts(siglip, tmp_path / "absent"), "config.json is missing"),
        (Parts(siglip, llm, projector="magic"), "'magic' is unknown"),
        (Parts(siglip, llm, select_layer=-9), "names none of 2 vision layers"),
    ):
        with pytest.raises(InvalidCheckpoint, match=complaint):
            assemble(parts, tmp_path / "out")
    with pytest.raises(InvalidRequest, match="template 'v0' is unknown"):
        assemble(Parts(siglip, llm, conversation="v0"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("golden", [VILA15, NVILA, NVILA_S2], ids=lambda path: path.name)
def test_every_layout_is_fine_tuned(golden: Path, data: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert finetune(golden / "checkpoint", data, out, "--max-steps", "1") == 0
    before, after = load_vila(golden / "checkpoint"), load_vila(out)
    assert after.conversation.name == before.conversation.name
    assert after.config.generation == before.config.generation
    assert after.config.token_order == before.config.token_order
    image = picture(40, 50)
    moved = (before.encode_images([image])[0] - after.encode_images([image])[0]).abs().max()
    assert 1e-4 < float(moved) < 3.0


def test_shards_stay_shards(base: Path, tmp_path: Path):
    sharded = tmp_path / "sharded"
    shutil.copytree(base, sharded)
    tensors = load_file(sharded / "llm" / "model.safetensors")
    (sharded / "llm" / "model.safetensors").unlink()
    names = sorted(tensors)
    places = {}
    for number, some in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in some}, sharded / "llm" / file)
        places.update(dict.fromkeys(some, file))
    index = sharded / "llm" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    vila = load_vila(sharded)
    name = "language_model.model.norm.weight"
    learnt = {name: torch.full((32,), 7.0)}
    with whole_folder(tmp_path / "out") as part:
        write_checkpoint(vila, learnt, part)
    written = load_vila(tmp_path / "out")
    assert len(list((tmp_path / "out" / "llm").glob("model-*.safetensors"))) == 2
    assert float(written.language_model.model.norm.weight[3]) == 7.0
    assert torch.equal(written.language_model.lm_head.weight, vila.language_model.lm_head.weight)
    with pytest.raises(InvalidRequest, match=r"no tensor that would be model\.other"):
        write_checkpoint(vila, {"language_model.model.other": torch.ones(1)}, tmp_path / "x")
    with pytest.raises(InvalidRequest, match="belongs to no part"):
        write_checkpoint(vila, {"head": torch.ones(1)}, tmp_path / "y")


def test_a_folder_is_whole_or_not_there(tmp_path: Path):
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as part:
        shutil.copy(part / "absent", part / "file")
    assert not (tmp_path / "out").exists()
    with whole_folder(tmp_path / "out") as part:
        (part / "file").write_text("whole")
    assert (tmp_path / "out" / "file").read_text() == "whole"
    with pytest.raises(InvalidRequest, match="exists already"), whole_folder(tmp_path / "out"):
        pass


def test_stored_types_stay(base: Path, data: Path, tmp_path: Path):
    half = tmp_path / "half"
    shutil.copytree(base, half)
    for file in half.glob("*/model.safetensors"):
        save_file({n: t.half() for n, t in load_file(file).items()}, file)
    assert finetune(half, data, tmp_path / "out", "--max-steps", "1") == 0
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float16}
