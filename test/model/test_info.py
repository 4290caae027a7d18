# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila model info`: what a folder is and needs, from headers alone."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from test.model.conftest import NVILA, NVILA_S2, VILA15, make_variant, picture
from vila_ros.cli.main import main
from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.info import describe_model


def count(folder: Path, part: str) -> int:
    return sum(t.numel() for t in load_file(folder / part / "model.safetensors").values())


def test_parameters_by_part():
    folder = VILA15 / "checkpoint"
    info = describe_model(folder)
    for part, name in (
        (info.language_model, "llm"),
        (info.vision_tower, "vision_tower"),
        (info.projector, "mm_projector"),
    ):
        assert part.parameters == count(folder, name)
        assert part.bytes == 4 * part.parameters
    assert info.fp16.weights == 2 * sum(
        count(folder, p.name) for p in folder.iterdir() if p.is_dir()
    )
    kinds = (info.language_model.kind, info.vision_tower.kind, info.projector.kind)
    assert kinds == ("llama", "siglip", "mlp_downsample")


def test_memory_by_hand():
    info = describe_model(VILA15 / "checkpoint")
    # 2 layers, 2 key/value heads of 16 channels, keys and values, 16 bits.
    assert info.fp16.kv_cache_per_1000_tokens == 1000 * 2 * 2 * 2 * 16 * 2
    # In each layer: q and o 64x64, k and v 64x32, and three feed-forward matrices 64x128.
    packed = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
    saved = round(packed * (16 - 4.15625) / 8)
    assert info.fp16.language_model - info.int4.language_model == saved


def test_the_token_order_and_why():
    old, new = describe_model(VILA15 / "checkpoint"), describe_model(NVILA_S2 / "checkpoint")
    assert (old.token_order, new.token_order) == ("column", "row")
    assert "transformers_version is 4.36.2" in old.token_order_reason
    assert "image_encoder" in new.token_order_reason


@pytest.mark.parametrize("aspect", ["resize", "dynamic"])
def test_tokens_are_those_that_images_take(tmp_path: Path, aspect: str):
    folder = make_variant(NVILA, tmp_path / "v", image_aspect_ratio=aspect)
    info, vila = describe_model(folder), load_vila(folder)
    sizes = [(70, 70), (100, 1200), (1200, 100), (210, 280), (1000, 1000)]
    taken = [len(vila.encode_images([picture(*size)], True)[0]) for size in sizes]
    assert info.most_tokens_per_image == max(taken)
    assert info.tokens_per_image == len(vila.encode_images([picture(30, 30)])[0]) == 10


def can(folder: Path) -> dict[str, bool]:
    return {runtime.name: runtime.can for runtime in describe_model(folder).runtimes}


def test_which_runtimes_can_serve_it():
    engine, backend = "tensorrt_llm (engine)", "tensorrt_llm (pytorch)"
    assert can(VILA15 / "checkpoint") == {"torch": True, engine: True, backend: True}
    assert can(NVILA / "checkpoint") == {"torch": True, engine: False, backend: True}


def test_the_table(capsys: pytest.CaptureFixture[str]):
    assert main(["model", "info", str(NVILA_S2 / "checkpoint")]) == 0
    table = capsys.readouterr().out
    for line in (
        "model           checkpoint (nvila)",
        "vision tower    siglip, 53.57 k parameters, 56 px",
        "an image        5 tokens, up to 49 when tiled (dynamic_s2)",
    ):
        assert line in table


def test_the_table_for_programs(capsys: pytest.CaptureFixture[str]):
    assert main(["model", "info", str(VILA15 / "checkpoint"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["tokens_per_image"] == 9
    memory = data["fp16"]
    parts = ("language_model", "vision_tower", "projector")
    assert memory["weights"] == sum(memory[part] for part in parts)
    assert data["runtimes"][0]["name"] == "torch"


def test_a_truncated_file_is_noticed(tmp_path: Path):
    folder = make_variant(VILA15, tmp_path / "v")
    path = folder / "llm" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidCheckpoint, match="truncated"):
        describe_model(folder)


def test_a_bad_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["model", "info", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("vila model: ")
    assert "config.json is missing" in error
