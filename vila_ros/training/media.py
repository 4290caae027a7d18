# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The media of encoded samples, read and prepared for the vision tower."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vila_ros.datasets.reading.pictures import read_clip, read_frame, read_picture
from vila_ros.datasets.types import ClipSource, ImageSource
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.training.encoding import MediaSlot
from vila_ros.training.model import MediaInput, TrainingBatch
from vila_ros.training.packing import Group, collate


class MediaReader:
    """Reads the pixels of slots for one model's image processor."""

    def __init__(self, processor: ImageProcessor):
        self._processor = processor

    def __call__(self, slot: MediaSlot) -> MediaInput:
        """A slot's pixels. Raises InvalidImage naming the file."""
        source = slot.source
        if isinstance(source, ClipSource):
            frames = [self._processor(frame).pixels for frame in read_clip(source)]
            return MediaInput(pixels=torch.cat(frames), clip=True)
        if isinstance(source, ImageSource):
            prepared = self._processor(read_picture(source), slot.tiled)
        else:
            prepared = self._processor(read_frame(source.clip, source.index))
        return MediaInput(pixels=prepared.pixels, grid=prepared.grid)

    def batch(
        self, sequences: Sequence[Sequence[Group]], length: int | None = None
    ) -> TrainingBatch:
        """Sequences with their media, ready for VilaForTraining; see packing.collate."""
        rows = collate(sequences, length)
        return TrainingBatch(rows, tuple(map(self, rows.slots)))
