# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A TorchEngine that loses its device, as torch reports it."""

from pathlib import Path

import torch

from vila_ros.engine.torch_engine import TorchEngine

SAYS = (
    "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be "
    "asynchronously reported at some other API call"
)


class LosingEngine(TorchEngine):
    """Loses it at the first token, unless the file `lost` exists, which it then makes."""

    def __init__(self, model, *, lost, **options):
        super().__init__(model, **options)
        self._lost = Path(lost)

    def load(self):
        capabilities = super().load()
        if not self._lost.exists():
            self._generator._decoder.decode = self._lose
        return capabilities

    def _lose(self, rows, tokens):
        self._lost.touch()
        raise RuntimeError(SAYS)


class FaultingEngine(LosingEngine):
    """Loses a real device, by an index that its kernel finds to be out of range."""

    def _lose(self, rows, tokens):
        self._lost.touch()
        torch.zeros(4, device="cuda")[torch.tensor([9], device="cuda")].cpu()
