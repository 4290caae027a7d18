# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila parity --awq` on results of the reference, whole and spoilt."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from vila_ros.cli.main import main
from vila_ros.errors import InvalidRequest
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization.awq_parity import check_awq_folder
from vila_ros.quantization.int4_writer import write_safetensors

GOLDEN = Path(__file__).parents[1] / "data" / "awq" / "gqa_one_layer"


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    file = SafetensorsFile(path)
    return {name: file.read(name).clone() for name in file.tensors}


@pytest.fixture
def golden(tmp_path) -> Path:
    folder = tmp_path / "gqa"
    shutil.copytree(GOLDEN, folder)
    model = {}
    for part in ("mlp", "rest"):
        model |= tensors_of(folder / f"model_fp16_{part}.safetensors")
        (folder / f"model_fp16_{part}.safetensors").unlink()
    model["lm_head.weight"] = model["model.embed_tokens.weight"].clone()
    write_safetensors(folder / "model_fp16.safetensors", model)
    return folder


def spoil(path: Path, name: str) -> None:
    """Change one number."""
    tensors = tensors_of(path)
    flat = tensors[name].view(-1)
    flat[3] = flat[3] + 1
    write_safetensors(path, tensors)


def failures(folder: Path) -> list[str]:
    reports = check_awq_folder(folder, 1e-4)
    return [check.failure for report in reports for check in report.checks if check.failure]


def test_the_reference_is_met(golden, capsys):
    assert main(["parity", "--awq", str(golden.parent)]) == 0

    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["file", "ratios", "scales", "clips", "integers", "packed"]
    assert table[-1] == "4 files agree"


def test_a_folder_without_packed_files_is_checked_as_far_as_it_goes(golden):
    for name in ("packed_gemm", "packed_tinychat_v2", "pseudo_quant"):
        (golden / f"{name}.safetensors").unlink()

    reports = check_awq_folder(golden, 1e-4)

    assert [report.path.stem for report in reports] == ["awq_results"]
    assert all(report.passed for report in reports)


@pytest.mark.parametrize(
    ("file", "name", "says"),
    [
        ("awq_results", "scale.model.layers.0.input_layernorm", "scale.model.layers.0.input"),
        ("awq_results", "clip.model.layers.0.mlp.gate_proj", "1 of 1024 clips differ"),
        ("pseudo_quant", "model.layers.0.self_attn.k_proj.z", "1 zeros differ"),
        ("packed_gemm", "model.layers.0.mlp.up_proj.qweight", "up_proj.qweight differs"),
    ],
)
def test_a_number_that_differs_is_named(golden, file, name, says):
    spoil(golden / f"{file}.safetensors", name)

    assert any(says in failure for failure in failures(golden))


def test_another_ratio_is_a_failure_and_exit_status_1(golden, capsys):
    meta = json.loads((golden / "meta.json").read_text())
    meta["scale_groups"][1]["best_ratio"] = 0.4
    (golden / "meta.json").write_text(json.dumps(meta))

    assert main(["parity", "--awq", str(golden)]) == 1

    assert "post_attention_layernorm: 0.35 not 0.4" in capsys.readouterr().out


def test_a_scale_that_only_the_reference_has_is_a_failure(golden):
    meta = json.loads((golden / "meta.json").read_text())
    more = {**meta["scale_groups"][0], "prev_op": "model.layers.0.self_attn.v_proj"}
    meta["scale_groups"].append(more)
    (golden / "meta.json").write_text(json.dumps(meta))

    assert failures(golden) == [
        "model.layers.0.self_attn.v_proj has a scale in the reference and none here"
    ]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match=r"awq_results\.safetensors"):
        check_awq_folder(tmp_path, 1e-4)
