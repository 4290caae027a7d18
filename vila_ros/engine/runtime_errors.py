# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a foreign runtime's error text means, as this package's errors."""

from __future__ import annotations

import re

from vila_ros.errors import (
    EngineFailed,
    OutOfMemory,
    PromptTooLong,
    VilaError,
    device_lost,
    is_device_lost,
)

# CUDA's and TensorRT-LLM's own words; the executor's limits are checked before, so a text about
# lengths is rare: it comes from an engine whose config.json was edited.
_MEMORY = re.compile(
    r"out of memory|OutOfMemory|cudaErrorMemoryAllocation|failed to allocate|bad_alloc"
    r"|no memory for|Not enough memory",
    re.IGNORECASE,
)
_LENGTH = re.compile(
    r"exceeds? (the )?(maximum|max_)|should not exceed|prompt length .* exceed"
    r"|exceeds the engine or specified limit",
    re.IGNORECASE,
)
_SHOWN = 500


def runtime_error(said: str, doing: str) -> VilaError:
    """The error for what a runtime said while `doing`."""
    text = " ".join(said.split())
    text = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    if _MEMORY.search(said):
        return OutOfMemory(
            f"out of memory while {doing}; use fewer images, or lower kv_cache_fraction or "
            f"max_concurrency. The runtime says: {text}"
        )
    if _LENGTH.search(said):
        return PromptTooLong(
            f"the runtime refuses the request's length while {doing}; shorten the prompt, use "
            f"fewer frames or lower max_tokens. It says: {text}"
        )
    if is_device_lost(RuntimeError(said)):
        return device_lost(RuntimeError(text), doing)
    return EngineFailed(f"the runtime failed while {doing}: {text or 'it does not say why'}")
