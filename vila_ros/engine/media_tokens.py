# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How many tokens media take where a runtime encodes them itself; no weights are needed.

TensorRT-LLM's PyTorch backend cuts every image into tiles where the model has tiles, also when a
prompt has several, and puts a newline behind each image and frame (VilaInputProcessor in
tensorrt_llm/_torch/models/modeling_vila.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from vila_ros.engine.interface import VideoPart
from vila_ros.model.config import VilaConfig
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.model.interleave import MediaPart
from vila_ros.model.projector import Projector
from vila_ros.model.vision_tower import VisionTower

NEWLINE = 1


@dataclass(frozen=True, eq=False)
class MediaTokens:
    """Counts tokens for one model. tile: of one tile, or of an image that is not tiled."""

    config: VilaConfig
    processor: ImageProcessor
    tile: int

    @classmethod
    def of(cls, config: VilaConfig) -> MediaTokens:
        """By the model's configuration."""
        with torch.device("meta"):
            tower = VisionTower.from_config(config)
            projector = Projector(
                config.projector, config.mm_hidden_size, config.language.hidden_size
            )
        return cls(config, ImageProcessor.from_config(config), projector.tokens(tower.tokens))

    @property
    def most_per_image(self) -> int:
        """Tokens of an image that is cut into as many tiles as the model allows."""
        return self._image((1, self.config.max_tiles) if self.processor.tiles_images else None)

    def count(self, media: Sequence[MediaPart]) -> int:
        """Tokens that a request's media take together."""
        total = 0
        for part in media:
            if isinstance(part, VideoPart):
                total += len(part.frames) * (self.tile + NEWLINE)
            else:
                height, width = part.pixels.shape[:2]
                total += self._image(self.processor.grid(height, width, tiled=True))
        return total

    def _image(self, grid: tuple[int, int] | None) -> int:
        """Tokens of an image cut into (rows, columns)."""
        tiles = grid[0] * grid[1] if grid is not None else 1
        # "dynamic" adds a small view of the whole; dynamic S2 merges its scales into one grid.
        if self.config.image_aspect_ratio == "dynamic" and tiles > 1:
            tiles += 1
        return tiles * self.tile + NEWLINE
