# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The decoder blocks of a float checkpoint, one at a time.

They are read from the files and not taken from a loaded model: pages of a mapped file that were
once used stay with the process, so that in the end it would hold the whole model.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import VilaConfig
from vila_ros.model.language_model import build_language_model
from vila_ros.model.weights import WeightFile, open_weights, walk
from vila_ros.quantization.groups import check_finite

PREFIX = "model.layers."
RELEASE_BYTES = 256 << 20
"""Read between two times that mapped pages are given back."""
READ_BYTES = 1 << 22


class FloatBlocks:
    """The blocks of a language model by number, in float32.

    Raises InvalidCheckpoint from read() for a block that lacks a tensor.
    """

    def __init__(self, config: VilaConfig) -> None:
        with torch.device("meta"):
            model = build_language_model(config.language)
        self._folder = config.llm_folder
        self._empty: nn.ModuleList = model.model.layers.requires_grad_(False).eval()
        self._stored: dict[str, WeightFile] = {
            name: file for file, name, _ in walk(open_weights(config.llm_folder))
        }

    def __len__(self) -> int:
        return len(self._empty)

    def read(self, number: int, device: torch.device) -> nn.Module:
        """A block of its own, which may be changed."""
        block = copy.deepcopy(self._empty[number])
        tensors = {
            name: self._tensor(f"{PREFIX}{number}.{name}").to(device) for name in block.state_dict()
        }
        block.load_state_dict(tensors, assign=True)
        return block.requires_grad_(False)

    def _tensor(self, name: str) -> torch.Tensor:
        file = self._stored.get(name)
        if file is None:
            raise InvalidCheckpoint(f"{self._folder}: tensor {name} is missing")
        tensor = file.read(name, torch.float32)
        if file.tensors[name].dtype == torch.float32:
            tensor = tensor.clone()  # it was the mapped file
            file.release()
        return tensor


def check_weights(files: list[WeightFile]) -> None:
    """Raise InvalidCheckpoint for a NaN or inf; reads all, and holds little of it."""
    for file in files:
        held = 0
        for name, info in file.tensors.items():
            if info.dtype.is_floating_point:
                check_finite(f"{file.path}: {name}", file.read(name))
            held += info.bytes
            if held >= RELEASE_BYTES:
                file.release()
                held = 0
        file.release()


def digest_of(paths: list[Path]) -> str:
    """SHA-256 of files, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                total.update(piece)
    return total.hexdigest()
