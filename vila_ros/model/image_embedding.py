# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One vector an image by the model's vision tower, to say how alike images are.

Only the tower is loaded, a tenth of a model or less. Arrays in, arrays out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRequest
from vila_ros.model.checkpoint import COMPUTE_DTYPES, load_weights, locate
from vila_ros.model.config import read_config
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.model.memory import is_out_of_memory, out_of_memory
from vila_ros.model.vision_tower import VisionTower


class ImageEmbedder:
    """The vision tower of a checkpoint, for pooled features. One thread at a time.

    model: a folder, or a hub id with an optional revision. device: "cpu", "cuda:0", or
    "auto" for CUDA where there is one. dtype: "float32", "float16", "bfloat16", or "auto" for
    float16 on CUDA and float32 on the CPU. Raises InvalidCheckpoint, InvalidRequest, OutOfMemory.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        revision: str | None = None,
    ) -> None:
        config = read_config(locate(model, revision), None)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype == "auto":
            dtype = "float16" if device.startswith("cuda") else "float32"
        if dtype not in COMPUTE_DTYPES:
            raise InvalidRequest(f"dtype {dtype!r} is unknown; use {', '.join(COMPUTE_DTYPES)}")
        self._device, self._dtype = torch.device(device), COMPUTE_DTYPES[dtype]
        with torch.device("meta"):
            self._tower = VisionTower.from_config(config)
        self._processor = ImageProcessor.from_config(config)
        with self._memory_watched("loading the vision tower"):
            load_weights(
                self._tower,
                config.vision_folder,
                self._tower.published_name,
                self._dtype,
                self._device,
            )

    @torch.inference_mode()
    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Images -> float32 [n, C], each the mean of its tokens, of length 1.

        Each image is seen whole, never tiled, and each on its own, so that what it gets does not
        depend on its neighbours. Raises InvalidImage and OutOfMemory.
        """
        rows = []
        with self._memory_watched("embedding images"):
            for image in images:
                pixels = self._processor(image).pixels.to(self._device, self._dtype)
                rows.append(self._tower(pixels).float().mean(dim=(0, 1)))
        if not rows:
            return np.empty((0, 0), np.float32)
        pooled = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        return pooled.cpu().numpy()

    @contextmanager
    def _memory_watched(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(error, doing, self._device) from None
