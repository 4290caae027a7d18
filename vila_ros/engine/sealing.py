# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The last step of a build: what the engine needs of the model, and the manifest with checksums."""

from __future__ import annotations

import shutil
from pathlib import Path

from vila_ros.engine.engine_folder import (
    LanguageEngine,
    Manifest,
    VisualEngine,
    engine_files,
    file_digest,
    read_language_engine,
    read_visual_engine,
    write_manifest,
)
from vila_ros.engine.machine import Machine
from vila_ros.errors import InvalidCheckpoint, Unsupported
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.info import ModelInfo, describe_model

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def seal_engine(
    folder: Path,
    model: Path,
    machine: Machine,
    *,
    precision: str,
    architecture: str | None = None,
    conversation: str | None = None,
    vision_tower: bool = False,
) -> Manifest:
    """Copy the model's small files into the folder and write its manifest.

    architecture: what the engine must be of; None takes this machine's GPU. vision_tower: copy the
    vision weights too, for folders without a visual engine. Raises InvalidCheckpoint for a folder
    whose parts do not fit the model, Unsupported for a GPU of another architecture.
    """
    config = read_config(model)
    info = describe_model(model, conversation=conversation)
    language = read_language_engine(folder / "llm", folder)
    visual = read_visual_engine(folder / "vision")
    _check_fit(folder, language, visual, config, info)
    if visual is None and not vision_tower:
        raise InvalidCheckpoint(
            f"{folder} has no visual engine; build one, or copy the vision tower by --vision-tower"
        )
    built_for = _architecture(machine, architecture)
    copy_front(config, folder / "model", vision_tower)
    manifest = Manifest(
        model=info.name,
        architecture=built_for,
        tensorrt_llm=language.version,
        tensorrt=machine.tensorrt,
        conversation=info.conversation,
        token_order=config.token_order,
        rows_per_image=info.tokens_per_image,
        precision=precision,
        files={
            path.relative_to(folder).as_posix(): file_digest(path) for path in engine_files(folder)
        },
    )
    write_manifest(folder, manifest)
    return manifest


def copy_front(config: VilaConfig, target: Path, vision_tower: bool) -> None:
    """Configuration and tokenizer, in the layout of a VILA folder; vision weights on request."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    shutil.copyfile(config.root / "config.json", target / "config.json")
    for source, name in (
        (config.llm_folder, "llm"),
        (config.vision_folder, "vision_tower"),
        (config.projector_folder, "mm_projector"),
    ):
        (target / name).mkdir()
        weights = vision_tower and name != "llm"
        for path in source.iterdir():
            is_weights = path.suffix in WEIGHTS or path.name.endswith(".index.json")
            if path.is_file() and (weights or not is_weights):
                shutil.copyfile(path, target / name / path.name)


def _check_fit(
    folder: Path,
    language: LanguageEngine,
    visual: VisualEngine | None,
    config: VilaConfig,
    info: ModelInfo,
) -> None:
    """Raise InvalidCheckpoint unless the engines are of the model."""
    if language.hidden_size != config.language.hidden_size:
        raise InvalidCheckpoint(
            f"{folder / 'llm'} has hidden size {language.hidden_size}, {config.root} has "
            f"{config.language.hidden_size}; they are of different models"
        )
    rows = visual.rows_per_image if visual is not None else None
    if rows is not None and rows != info.tokens_per_image:
        raise InvalidCheckpoint(
            f"{folder / 'vision'} gives {rows} rows an image, {config.root} has "
            f"{info.tokens_per_image}; they are of different models"
        )


def _architecture(machine: Machine, wanted: str | None) -> str:
    """The architecture that the engine was built for: of the GPU that is here."""
    if machine.gpu is None:
        raise Unsupported(
            "an engine is sealed on the machine that built it, and this one has no CUDA GPU"
        )
    if wanted is not None and machine.gpu.architecture != wanted:
        raise Unsupported(
            f"the profile is for {wanted}, this machine's {machine.gpu.name} is "
            f"{machine.gpu.architecture}; build on the robot, or choose another --profile"
        )
    return machine.gpu.architecture
