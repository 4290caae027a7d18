# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engine folders as files, and what would go wrong with them on a machine."""

import json

import pytest

from test.engine_folders import (
    TINY_ROWS,
    manifest_of,
    seal,
    write_language_engine,
    write_visual_engine,
)
from vila_ros.engine.engine_folder import read_engine_folder, read_manifest, write_manifest
from vila_ros.engine.machine import Gpu, Machine, find_gpu, installed_version, this_machine
from vila_ros.engine.preflight import Level, image_limits, inspect_folder, require_usable
from vila_ros.errors import InvalidCheckpoint, Unsupported
from vila_ros.model.random_checkpoint import write_random_checkpoint

ORIN = Gpu("Orin", "sm_87", 64 << 30)
ADA = Gpu("RTX 4090", "sm_89", 24 << 30)
HERE = Machine(ORIN, "1.2.1", "10.11.0")
NOWHERE = Machine(None, None, None)


@pytest.fixture
def model(tmp_path):
    return write_random_checkpoint(tmp_path / "tiny")


@pytest.fixture
def folder(tmp_path, model):
    """A whole, sealed engine folder."""
    root = tmp_path / "engine"
    write_language_engine(root / "llm")
    write_visual_engine(root / "vision")
    (root / "model").symlink_to(model, target_is_directory=True)
    return seal(root)


def errors(root, machine=HERE, **options):
    findings = inspect_folder(read_engine_folder(root), machine, **options)
    return {each.about: each.text for each in findings if each.level is Level.ERROR}


def test_a_whole_folder_has_nothing_wrong_on_the_machine_it_was_built_for(folder):
    assert errors(folder, checksums=True) == {}
    require_usable(read_engine_folder(folder), HERE)


def test_its_limits_are_read(folder):
    engine = read_engine_folder(folder)

    assert engine.language.rows_per_request == 8 * TINY_ROWS
    limits = image_limits(engine)
    assert (limits.rows_per_image, limits.images) == (TINY_ROWS, 8)
    assert engine.language.quantization == "W4A16_AWQ"
    assert engine.language.paged_context
    assert engine.visual.max_images == 2


def test_without_a_gpu_what_cannot_be_known_is_said_not_to_be_checked(folder):
    findings = inspect_folder(read_engine_folder(folder), NOWHERE)

    unknown = {each.about for each in findings if each.level is Level.UNKNOWN}
    assert unknown == {"runtime", "built by", "GPU"}
    assert not [each for each in findings if each.level is Level.ERROR]


def test_another_gpu_is_refused(folder):
    machine = Machine(ADA, "1.2.1", None)

    with pytest.raises(Unsupported, match=r"built for sm_87, this machine's RTX 4090 is sm_89"):
        require_usable(read_engine_folder(folder), machine)


def test_a_release_without_engines_is_refused(folder):
    assert "1.2.1" in errors(folder, Machine(ORIN, "1.3.0rc21", None))["runtime"]


def test_an_engine_of_another_release_is_refused(folder):
    said = errors(folder, Machine(ORIN, "0.16.0", None))["built by"]

    assert "built by tensorrt_llm 1.2.1" in said
    assert "0.16.0" in said


def test_a_later_patch_of_the_same_release_is_not_refused(folder):
    assert errors(folder, Machine(ORIN, "1.2.0", None)) == {}


def test_nvila_is_refused(tmp_path):
    nvila = write_random_checkpoint(
        tmp_path / "nvila", overrides={"dynamic_s2": False, "image_encoder": None}
    )
    config = json.loads((nvila / "config.json").read_text())
    (nvila / "config.json").write_text(json.dumps({**config, "dynamic_s2": True}))
    root = tmp_path / "engine"
    write_language_engine(root / "llm")
    (root / "model").symlink_to(nvila, target_is_directory=True)

    with pytest.raises(Unsupported, match="is NVILA"):
        require_usable(read_engine_folder(root), HERE)


def test_a_table_that_holds_no_image_is_refused_with_the_option_that_sizes_it(folder):
    write_language_engine(folder / "llm", max_prompt_embedding_table_size=2 * TINY_ROWS - 1)

    assert "--max_multimodal_len of at least" in errors(folder)["images"]


def test_a_short_input_limits_the_images(folder):
    write_language_engine(folder / "llm", max_input_len=3 * TINY_ROWS + 1)
    engine = read_engine_folder(folder)

    assert image_limits(engine).images == 3
    assert any("max_input_len" in each.text for each in inspect_folder(engine, HERE))


def test_an_engine_for_several_gpus_is_refused(folder):
    write_language_engine(folder / "llm", mapping={"world_size": 2, "tp_size": 2, "pp_size": 1})
    (folder / "llm" / "rank1.engine").write_bytes(b"engine")

    assert "--tp_size 1" in errors(folder)["parallelism"]


def test_a_visual_engine_of_another_model_is_refused(folder):
    write_visual_engine(folder / "vision", model_type="llava")

    assert "'llava'" in errors(folder)["model"]


def test_an_engine_without_tokenizer_or_vision_is_refused(folder):
    (folder / "model").unlink()
    assert "no tokenizer" in errors(folder)["template"]

    for path in (folder / "vision").iterdir():
        path.unlink()
    assert "checkpoint" in errors(folder)["vision"]


def test_changed_and_missing_files_are_found_by_their_checksums(folder):
    (folder / "llm" / "rank0.engine").write_bytes(b"truncat")
    (folder / "vision" / "model.engine").unlink()
    (folder / "vision" / "config.json").unlink()

    said = errors(folder, checksums=True)["checksums"]

    assert "llm/rank0.engine has changed" in said
    assert "vision/model.engine is missing" in said
    assert "checksums" not in errors(folder)


def test_a_half_built_folder_is_refused(folder):
    (folder / "vila_engine.json").unlink()
    (folder / "build").mkdir()

    with pytest.raises(InvalidCheckpoint, match="half built"):
        require_usable(read_engine_folder(folder), HERE)


def test_a_folder_of_others_is_used_with_a_warning_about_its_token_order(folder):
    (folder / "vila_engine.json").unlink()
    findings = inspect_folder(read_engine_folder(folder), HERE)

    assert not [each for each in findings if each.level is Level.ERROR]
    warnings = {each.about: each.text for each in findings if each.level is Level.WARNING}
    assert "columns first" in warnings["vision"]


def test_the_layout_of_0_12_has_the_engines_in_folders_of_their_own(tmp_path, model):
    llm = write_language_engine(tmp_path / "somewhere", version="0.12.0")
    vision = write_visual_engine(tmp_path / "elsewhere", name="visual_encoder.engine")

    engine = read_engine_folder(llm, visual_engine_dir=vision, checkpoint=model)

    assert engine.language.folder == llm
    assert engine.visual.file.name == "visual_encoder.engine"
    require_usable(engine, Machine(ORIN, "0.12.0", None))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda root: None, "is no folder"),
        (lambda root: root.mkdir(), "is no engine folder"),
        (lambda root: write_random_checkpoint(root), "VILA model folder"),
        (
            lambda root: (
                root.mkdir(),
                (root / "config.json").write_text('{"quantization": {}, "mapping": {}}'),
            ),
            "TensorRT-LLM checkpoint",
        ),
        (
            lambda root: (write_language_engine(root / "llm") / "rank0.engine").unlink(),
            "lacks rank0.engine",
        ),
        (
            lambda root: (write_language_engine(root / "llm") / "config.json").write_text("{"),
            "cannot be read as JSON",
        ),
        (lambda root: write_language_engine(root / "llm", max_input_len="x"), "max_input_len"),
        (
            lambda root: (
                write_language_engine(root / "llm"),
                (write_visual_engine(root / "vision") / "config.json").unlink(),
            ),
            "config.json is missing",
        ),
    ],
)
def test_what_is_no_engine_folder_is_told_by_what_it_is(tmp_path, prepare, says):
    root = tmp_path / "folder"
    prepare(root)

    with pytest.raises(InvalidCheckpoint, match=says):
        read_engine_folder(root)


def test_a_manifest_comes_back_as_it_was_written(folder):
    manifest = manifest_of(folder, conversation="llama_3")

    write_manifest(folder, manifest)

    assert read_manifest(folder / "vila_engine.json") == manifest
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', '{"format": 1}'])
def test_a_broken_manifest_is_told(folder, text):
    (folder / "vila_engine.json").write_text(text)

    with pytest.raises(InvalidCheckpoint, match=r"vila_engine\.json"):
        read_engine_folder(folder)


def test_this_machine_is_found_without_importing_a_runtime():
    machine = this_machine()

    assert machine.gpu == find_gpu()
    assert machine.tensorrt_llm == installed_version("tensorrt_llm")
    assert installed_version("no-such-distribution", "numpy") is not None
