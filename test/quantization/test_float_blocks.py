# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Blocks read from the files: the model's own numbers, and nothing of the files held."""

import pytest
import torch

from test.quantization.conftest import SMALL
from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_config
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization.float_blocks import FloatBlocks
from vila_ros.quantization.int4_writer import write_safetensors

CPU = torch.device("cpu")


@pytest.fixture(params=["float32", "bfloat16"])
def folder(request, tmp_path):
    return write_random_checkpoint(tmp_path / "model", SMALL, dtype=request.param)


def test_a_block_is_the_loaded_model_s_in_float32(folder):
    expected = load_vila(folder, dtype="float32").language_model.model.layers[0].state_dict()

    block = FloatBlocks(read_config(folder)).read(0, CPU)

    mine = block.state_dict()
    assert set(mine) == set(expected)
    assert all(torch.equal(mine[name], expected[name]) for name in expected)
    assert not block.training


def test_a_block_holds_its_own_memory_alone_and_may_be_changed(folder):
    blocks = FloatBlocks(read_config(folder))
    block = blocks.read(0, CPU)
    for parameter in block.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
    before = block.mlp.up_proj.weight.clone()

    block.mlp.up_proj.weight.zero_()

    assert torch.equal(blocks.read(0, CPU).mlp.up_proj.weight, before)


def test_a_missing_tensor_is_named(folder):
    path = folder / "llm" / "model.safetensors"
    file = SafetensorsFile(path)
    tensors = {name: file.read(name).clone() for name in file.tensors}
    del tensors["model.layers.0.mlp.up_proj.weight"]
    write_safetensors(path, tensors)

    with pytest.raises(InvalidCheckpoint, match=r"model\.layers\.0\.mlp\.up_proj\.weight is miss"):
        FloatBlocks(read_config(folder)).read(0, CPU)
