# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VideoData: tensorrt_llm/inputs/multimodal_data.py at fc61a3e7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class VideoData:
    """Frames are PIL images, or tensors; non-empty, with a dict of metadata."""

    frames: list[Any]
    metadata: dict[str, Any]
    audio: Any = None

    def __post_init__(self) -> None:
        if not self.frames:
            raise ValueError("frames cannot be empty")
        if not isinstance(self.metadata, dict):
            raise TypeError("metadata must be a dictionary")
