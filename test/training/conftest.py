# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models and samples for the training tests."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from test.model.conftest import NVILA, NVILA_S2, VILA15, VILA15_S2, make_variant, picture
from vila_ros.datasets.types import ImageSource, Sample, SampleTurn, SourcePart
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.model.vila import Vila

torch.set_num_threads(1)


def png(height: int = 48, width: int = 64, seed: int = 0) -> ImageSource:
    """A picture of noise, in memory, named by its seed."""
    file = BytesIO()
    Image.fromarray(picture(height, width, seed)).save(file, "PNG")
    return ImageSource(data=file.getvalue(), key=f"noise-{seed}-{height}x{width}")


def dialogue(*texts: str | tuple[SourcePart, ...], system: str = "") -> Sample:
    """Turns of user and assistant by turns."""
    turns = [SampleTurn("system", (system,))] if system else []
    for index, text in enumerate(texts):
        parts = (text,) if isinstance(text, str) else text
        turns.append(SampleTurn("assistant" if index % 2 else "user", parts))
    return Sample("s", tuple(turns), origin="data.json:1")


def document(*parts: SourcePart) -> Sample:
    return Sample("d", (SampleTurn("text", parts),), origin="data.jsonl:1")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint; not to be written to."""
    return write_random_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def tiny(tiny_folder: Path) -> Vila:
    return load_vila(tiny_folder)


@pytest.fixture
def vila15() -> Vila:
    return load_vila(VILA15 / "checkpoint", conversation="vicuna_v1")


@pytest.fixture
def nvila() -> Vila:
    return load_vila(NVILA / "checkpoint")


@pytest.fixture(params=["vila1.5", "s2", "nvila", "tsp", "dynamic", "dynamic_s2"])
def any_vila(request: pytest.FixtureRequest, tmp_path: Path) -> Vila:
    """A model of every layout."""
    tsp = {"_target_": "x.TSPVideoEncoder", "pool_sizes": [[2, 1, 1], [4, 3, 3]]}
    match request.param:
        case "vila1.5":
            return load_vila(VILA15 / "checkpoint", conversation="vicuna_v1")
        case "s2":
            return load_vila(VILA15_S2 / "checkpoint", conversation="vicuna_v1")
        case "nvila":
            return load_vila(NVILA / "checkpoint")
        case "tsp":
            return load_vila(make_variant(NVILA, tmp_path / "tsp", video_encoder=tsp))
        case "dynamic":
            folder = make_variant(NVILA, tmp_path / "d", image_aspect_ratio="dynamic", max_tiles=4)
            return load_vila(folder)
        case _:
            return load_vila(NVILA_S2 / "checkpoint")
