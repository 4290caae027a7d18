# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints for TensorRT-LLM, made by the real nvidia-modelopt where it is installed."""

import json
from importlib.util import find_spec

import pytest
import torch

from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_config
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.quantization.modelopt_awq import (
    check_exportable,
    complete_config,
    export,
    main,
)

needs_modelopt = pytest.mark.skipif(
    find_spec("modelopt") is None,
    reason="nvidia-modelopt is not installed: pip install -r requirements/export.txt",
)


def unpacked(weight: torch.Tensor) -> torch.Tensor:
    """int8 [out/2, in], the low nibble the even row -> [out, in] in -8 … 7."""
    packed = weight.view(torch.uint8)
    nibbles = torch.stack([packed & 15, packed >> 4], dim=1).flatten(0, 1).to(torch.int16)
    return torch.where(nibbles > 7, nibbles - 16, nibbles).float()


@needs_modelopt
def test_int4_holds_the_models_weights_to_half_a_step(small, pictures, tmp_path):
    from safetensors.torch import load_file

    told = []
    out = export(small, tmp_path / "out", calibration=pictures, progress=told.append)

    tensors = load_file(out / "checkpoint" / "rank0.safetensors")
    name = "transformer.layers.0.mlp.proj"
    scales = tensors[f"{name}.weights_scaling_factor"]
    steps = scales.repeat_interleave(128, dim=1)
    restored = unpacked(tensors[f"{name}.weight"]) * steps
    # x * prequant goes in, so that a channel's weight is the stored one times its factor.
    factor = tensors[f"{name}.prequant_scaling_factor"].float()
    original = load_vila(small).language_model.model.layers[0].mlp.down_proj.weight
    step = steps * factor
    assert ((restored * factor - original).abs() <= 0.51 * step).float().mean() > 0.98
    config = json.loads((out / "checkpoint" / "config.json").read_text())
    assert config["quantization"]["quant_algo"] == "W4A16_AWQ"
    assert config["quantization"]["group_size"] == 128
    assert config["rotary_base"] == 500_000.0
    assert "calibrated with image 4 of 4" in told
    assert not list(tmp_path.glob("*.part"))


@needs_modelopt
def test_int4_is_also_a_vila_folder_for_the_pytorch_backend(small, pictures, tmp_path):
    from safetensors.torch import load_file

    folder = export(small, tmp_path / "out", calibration=pictures, samples=1) / "vila"

    config = read_config(folder)
    assert config.generation == "vila1.5"
    quantization = json.loads((folder / "hf_quant_config.json").read_text())
    assert quantization["quantization"]["quant_algo"] == "W4A16_AWQ"
    tensors = load_file(folder / "llm" / "model.safetensors")
    kinds = {
        name.rsplit(".", 1)[1]: tensor.dtype for name, tensor in tensors.items() if "mlp" in name
    }
    assert kinds == {
        "weight": torch.uint8,
        "weight_scale": torch.float32,
        "pre_quant_scale": torch.float16,
    }
    assert tensors["model.norm.weight"].dtype == torch.float16
    assert (folder / "llm" / "tokenizer.json").is_file()


@needs_modelopt
def test_float16_is_converted_without_calibration(small, tmp_path):
    from safetensors.torch import load_file

    out = export(small, tmp_path / "out", precision="float16")

    tensors = load_file(out / "checkpoint" / "rank0.safetensors")
    weight = tensors["transformer.layers.0.mlp.proj.weight"]
    original = load_vila(small).language_model.model.layers[0].mlp.down_proj.weight
    torch.testing.assert_close(weight, original.half())
    assert not (out / "vila").exists()


@needs_modelopt
def test_an_empty_folder_may_be_filled(small, tmp_path):
    (tmp_path / "out").mkdir()

    out = export(small, tmp_path / "out", precision="float16")
    assert (out / "checkpoint" / "rank0.safetensors").is_file()


def test_what_stands_there_is_not_touched(small, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "kept").write_text("from before")

    code = main(["--model", str(small), "--out", str(out), "--precision", "float16"])

    assert code == 1
    assert "exists already; name another folder by --out" in capsys.readouterr().err
    assert (out / "kept").read_text() == "from before"


def test_the_base_of_the_rotary_embedding_is_written_where_modelopt_leaves_it_out(small, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"norm_epsilon": 1e-6, "max_position_embeddings": 1}))

    complete_config(path, read_config(small).language)

    written = json.loads(path.read_text())
    assert written["rotary_base"] == 500_000.0
    assert written["max_position_embeddings"] == 2048


def test_int4_needs_images_to_calibrate_with(small, tmp_path):
    with pytest.raises(InvalidRequest, match="--calibration"):
        export(small, tmp_path / "out")


def test_sizes_that_groups_of_128_do_not_divide_are_refused(tmp_path):
    tiny = write_random_checkpoint(tmp_path / "tiny")

    with pytest.raises(Unsupported, match="hidden_size 64"):
        check_exportable(read_config(tiny))


def test_nvila_is_refused(tmp_path):
    nvila = write_random_checkpoint(tmp_path / "nvila", overrides={"fps": 0.0})

    with pytest.raises(Unsupported, match="NVILA"):
        check_exportable(read_config(nvila))


def test_the_command_line_tells_an_error_in_one_line(small, tmp_path, capsys):
    code = main(["--model", str(small), "--out", str(tmp_path / "out"), "--precision", "int4_awq"])

    assert code == 1
    assert capsys.readouterr().err.startswith("modelopt_awq: int4_awq needs --calibration")
