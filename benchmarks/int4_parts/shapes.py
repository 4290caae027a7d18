# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes of language models, random int4 weights of them, and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from vila_ros.quantization.int4_weight import Int4Weight

# hidden, layers, heads, kv heads, mlp, vocabulary. 1b is TinyLlama's, the others VILA1.5's.
SHAPES = {
    "tiny": (256, 2, 4, 2, 512, 512),
    "1b": (2048, 22, 32, 4, 5632, 32000),
    "3b": (2560, 32, 20, 20, 6912, 32000),
    "8b": (4096, 32, 32, 8, 14336, 128256),
    "13b": (5120, 40, 40, 40, 13824, 32000),
}
GROUP = 128
PROMPT = 256


def random_int4(rows: int, columns: int) -> Int4Weight:
    packed = torch.randint(-(2**31), 2**31 - 1, (rows, columns // 8), dtype=torch.int32)
    scales = torch.full((rows, columns // GROUP), columns**-0.5 / 4, dtype=torch.float16)
    return Int4Weight(packed, scales, torch.full(scales.shape, 8, dtype=torch.uint8))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
