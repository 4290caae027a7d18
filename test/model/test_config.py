# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What folders say of themselves, in all the ways they are published."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from test.model.conftest import (
    GOLDENS,
    NVILA,
    NVILA_S2,
    VILA15,
    VILA15_S2,
    edit_json,
    make_variant,
)
from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.config import MediaEncoderConfig, Scales, choose_token_order, read_config


def test_vila15():
    config = read_config(VILA15 / "checkpoint")
    assert config.generation == "vila1.5"
    assert (config.language.kind, config.vision.kind) == ("llama", "siglip")
    assert (config.projector, config.token_order) == ("mlp_downsample", "column")
    assert (config.select_layer, config.select_feature) == (-2, "cls_patch")
    assert config.image_encoder == config.video_encoder == MediaEncoderConfig()
    assert config.scales is None


def test_nvila():
    config = read_config(NVILA_S2 / "checkpoint")
    assert config.generation == "nvila"
    assert config.language.kind == "qwen2"
    assert config.token_order == "row"
    assert config.scales == Scales((56, 112, 168), 56, 2, dynamic=True)
    assert config.mm_hidden_size == 96
    assert config.image_encoder == MediaEncoderConfig(end_tokens="\n")


def test_s2():
    config = read_config(VILA15_S2 / "checkpoint")
    assert config.scales == Scales((70, 140), 70, 0, dynamic=False)
    assert config.mm_hidden_size == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"llm_cfg": "/data/run7/llm", "resume_path": "/data/run7"},
        {"llm_cfg": "./llm", "resume_path": "./vlm"},
        {"llm_cfg": None, "resume_path": None},
    ],
)
def test_paths_of_another_machine_do_not_matter(tmp_path: Path, changes: dict):
    folder = make_variant(VILA15, tmp_path / "v", **changes)
    assert read_config(folder).llm_folder == folder / "llm"


def test_a_part_elsewhere_in_the_folder_is_found_by_its_path(tmp_path: Path):
    folder = make_variant(VILA15, tmp_path / "v", llm_cfg="/data/exp/language")
    (folder / "llm").rename(folder / "language")
    assert read_config(folder).llm_folder == folder / "language"


def test_a_part_without_a_config_of_its_own_takes_the_roots(tmp_path: Path):
    folder = make_variant(VILA15, tmp_path / "v")
    (folder / "vision_tower" / "config.json").unlink()
    taken, whole = read_config(folder).vision, read_config(VILA15 / "checkpoint").vision
    assert replace(taken, raw={}) == replace(whole, raw={})


def test_a_training_run_keeps_its_model_one_folder_down(tmp_path: Path):
    make_variant(VILA15, tmp_path / "run" / "model")
    assert read_config(tmp_path / "run").root == tmp_path / "run" / "model"


@pytest.mark.parametrize(
    ("raw", "order"),
    [
        ({"transformers_version": "4.36.2"}, "column"),
        ({}, "column"),
        ({"transformers_version": "4.46.0"}, "row"),
        ({"transformers_version": "4.100.0"}, "row"),
        ({"transformers_version": "4.36.2", "dynamic_s2": False}, "row"),
        ({"transformers_version": "4.36.2", "image_encoder": "{}"}, "row"),
    ],
)
def test_age_decides_the_token_order(raw: dict, order: str):
    assert choose_token_order("mlp_downsample", raw, None)[0] == order


def test_the_caller_overrides_the_token_order():
    order, why = choose_token_order("mlp_downsample", {}, "row")
    assert (order, why) == ("row", "given by the caller")
    with pytest.raises(InvalidRequest, match="'diagonal' is unknown"):
        choose_token_order("mlp_downsample", {}, "diagonal")
    with pytest.raises(InvalidRequest, match="has one token order"):
        choose_token_order("mlp_downsample_2x2_fix", {}, "column")


TSP = '{"_target_": "llava.model.encoders.TSPVideoEncoder", "pool_sizes": [[8, 1, 1]]}'


def test_the_tsp_encoder(tmp_path: Path):
    config = read_config(make_variant(NVILA, tmp_path / "v", video_encoder=TSP))
    assert config.video_encoder == MediaEncoderConfig(end_tokens="\n", pool_sizes=((8, 1, 1),))


def test_encoders_that_frame_nothing(tmp_path: Path):
    encoder = {"_target_": "llava.model.encoders.BasicImageEncoder", "end_tokens": None}
    config = read_config(make_variant(NVILA, tmp_path / "v", image_encoder=encoder))
    assert config.image_encoder.end_tokens is None


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        ("mm_projector", {"mm_projector_type": "resampler"}, "'resampler' is unknown; known are"),
        ("mm_projector", {"mm_projector_type": "mlp0x_gelu"}, "'mlp0x_gelu' is unknown"),
        ("vision_tower", {"model_type": "radio"}, "vision tower 'radio' is unknown; known are"),
        ("llm", {"model_type": "mixtral"}, "language model 'mixtral' is unknown; known are"),
        ("llm", {"hidden_size": "64"}, "hidden_size is '64', expected a positive integer"),
        ("llm", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (".", {"mm_vision_select_feature": "cls"}, "'cls' is unknown; known are patch"),
        (".", {"s2": True, "s2_scales": "70"}, "s2_scales is '70', expected two or more"),
        (".", {"s2": True, "s2_scales": "56,112", "s2_max_split_size": 56}, "56 px do not fit"),
        (".", {"video_encoder": '{"_target_": "my.Encoder"}'}, "is unknown; known are Basic"),
        (".", {"video_encoder": "{"}, "is not JSON"),
        (".", {"video_encoder": TSP.replace("8", "0")}, "needs pool_sizes"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, file: str, changes: dict, says: str):
    folder = make_variant(VILA15, tmp_path / "v")
    edit_json(folder / file / "config.json", **changes)
    with pytest.raises(InvalidCheckpoint, match=says) as error:
        read_config(folder)
    assert str(folder) in error.value.message


@pytest.mark.parametrize("part", ["llm", "vision_tower", "mm_projector"])
def test_a_missing_part_is_named(tmp_path: Path, part: str):
    folder = make_variant(VILA15, tmp_path / "v")
    shutil.rmtree(folder / part)
    with pytest.raises(InvalidCheckpoint, match=f"{part} is missing"):
        read_config(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_broken_config_is_named(tmp_path: Path, text: str):
    folder = make_variant(VILA15, tmp_path / "v")
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCheckpoint, match=r"config\.json"):
        read_config(folder)


def test_no_checkpoint_at_all(tmp_path: Path):
    with pytest.raises(InvalidCheckpoint, match="is missing; a VILA checkpoint has it"):
        read_config(tmp_path)


def test_the_context_grows_with_scaled_positions(tmp_path: Path):
    folder = make_variant(VILA15, tmp_path / "v")
    edit_json(folder / "llm" / "config.json", rope_scaling={"type": "linear", "factor": 4.0})
    assert read_config(folder).language.positions == 8192


def test_every_golden_reads():
    assert [read_config(golden / "checkpoint").name for golden in GOLDENS] == ["checkpoint"] * 4
