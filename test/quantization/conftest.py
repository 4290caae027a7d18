# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small model whose sizes AWQ's groups of 128 divide, and images to calibrate it with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint

SMALL = Shape(256, 1, 4, 2, 256, 512, 2048, 32, 3, 4, 64, 56, rope_theta=500_000.0)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("models") / "small", SMALL)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(4):
        pixels = np.full((40, 60, 3), 60 * number, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "1.txt").write_text("How dark is it?\nRather dark.\n")
    return folder
