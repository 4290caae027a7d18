# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Out of memory as torch and Python report it, told as what was asked and what was free."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from vila_ros.errors import OutOfMemory

# torch's CPU allocator has no exception class of its own, nor have CUDA and its libraries where
# they allocate beside torch.
MESSAGES = (
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
ASKED = re.compile(r"tried to allocate ([\d.]+ ?(?:bytes|[KMGT]?i?B))", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)


def free_bytes(device: torch.device) -> int:
    """Bytes of the device's memory that are free now; 0 where that cannot be read."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields.get("MemAvailable", "0").split()[0]) * 1024


def out_of_memory(error: BaseException, doing: str, device: torch.device) -> OutOfMemory:
    """The project's error for an exception that says memory ran out while `doing`."""
    found = ASKED.search(str(error))
    asked = found.group(1) if found else "an unknown amount"
    free = free_bytes(device) / 2**30
    return OutOfMemory(
        f"out of memory while {doing}: asked {asked}, {free:.2f} GiB free on {device}; use fewer "
        "or smaller images, fewer concurrent requests, or a shorter context_length"
    )
