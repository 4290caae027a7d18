# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints for the model's tests: recorded ones of the reference, and variants made of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vila_ros.engine.interface import RgbImage
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_config
from vila_ros.model.projector import Projector
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.model.vila import Vila

DATA = Path(__file__).parent.parent / "data" / "vila"
VILA15 = DATA / "vila15_mlp_downsample_70px"
VILA15_S2 = DATA / "vila15_s2_mlp_downsample_70px"
NVILA = DATA / "nvila_2x2fix_70px"
NVILA_S2 = DATA / "nvila_mlp_downsample_dynamic_s2_56px"
GOLDENS = (VILA15, VILA15_S2, NVILA, NVILA_S2)

torch.set_num_threads(1)


def picture(height: int, width: int, seed: int = 0) -> RgbImage:
    """Noise; different seeds give different pixels."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes one."""
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))


def make_variant(golden: Path, folder: Path, projector: str | None = None, **changes: Any) -> Path:
    """A golden's checkpoint with other keys in its root config, and a new random projector."""
    shutil.copytree(golden / "checkpoint", folder)
    edit_json(folder / "config.json", **changes)
    if projector is not None:
        edit_json(folder / "mm_projector" / "config.json", mm_projector_type=projector)
        config = read_config(folder)
        module = Projector(projector, config.mm_hidden_size, config.language.hidden_size)
        random = torch.Generator().manual_seed(1)
        weights = {
            name: torch.empty(tensor.shape).normal_(std=0.3, generator=random)
            for name, tensor in module.state_dict().items()
        }
        save_file(weights, folder / "mm_projector" / "model.safetensors")
    return folder


def copy_golden(golden: Path, folder: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """A golden folder to damage."""
    shutil.copytree(golden, folder)
    edit_json(folder / "checkpoint" / "config.json", **(changes or {}))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint; not to be written to."""
    return write_random_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="session")
def vila15() -> Vila:
    return load_vila(VILA15 / "checkpoint", conversation="vicuna_v1")


@pytest.fixture(scope="session")
def nvila() -> Vila:
    return load_vila(NVILA / "checkpoint")
