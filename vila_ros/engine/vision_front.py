# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A VILA without its language model: template, tokenizer, and images to rows of embeddings.

The language model is the runtime's; what stands before it is this package's own, so that the order
of tokens, the interleaving and the caches are the same in every runtime. The vision tower is a
visual engine where the engine folder has one, else it runs in torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint, OutOfMemory, Unsupported
from vila_ros.model.checkpoint import load_weights
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.conversation import choose_conversation
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.model.projector import Projector
from vila_ros.model.tokenizer import load_tokenizer
from vila_ros.model.vila import Vila
from vila_ros.model.vision_tower import VisionTower


class ImageEncoder(Protocol):
    """Normalised pixels [B, 3, S, S] to projected rows [B, rows, hidden]; B at most max_images."""

    max_images: int
    rows: int

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode one batch."""


class LanguageModelElsewhere:
    """Stands where Vila has its language model: knows what ends an answer, holds no weights."""

    class GenerationConfig:
        """The one field of transformers' GenerationConfig that Vila reads."""

        def __init__(self, eos_token_id: int | list[int] | None) -> None:
            self.eos_token_id = eos_token_id

    def __init__(self, llm_folder: Path) -> None:
        path = llm_folder / "generation_config.json"
        raw = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.generation_config = self.GenerationConfig(raw.get("eos_token_id"))


class EncodedTower:
    """An ImageEncoder in the place of Vila's vision tower; the projector behind it passes on."""

    def __init__(self, encoder: ImageEncoder) -> None:
        self._encoder = encoder
        self.tokens = encoder.rows
        self.dtype = None  # it takes pixels of any

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> [B, rows, hidden], in batches that the encoder takes."""
        parts = pixels.split(self._encoder.max_images)
        return torch.cat([self._encoder(part).to(pixels.dtype) for part in parts])


class PassThrough:
    """In the place of Vila's projector, behind a tower that projects itself."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """The same."""
        return features

    def tokens(self, count: int) -> int:
        """As many as come in."""
        return count

    def grid(self, side: int) -> int:
        """As it comes in."""
        return side


def load_front(
    checkpoint: Path,
    *,
    device: str,
    dtype: torch.dtype,
    conversation: str | None = None,
    token_order: str | None = None,
    encoder: ImageEncoder | None = None,
) -> Vila:
    """Load everything but the language model.

    encoder: replaces tower and projector. Raises InvalidCheckpoint, Unsupported for NVILA, whose
    media are framed by embedded text, and OutOfMemory.
    """
    config = read_config(checkpoint, token_order)
    if config.generation == "nvila":
        raise Unsupported(
            f"{checkpoint} is NVILA, which TensorRT-LLM's engine path cannot run; use runtime "
            "'tensorrt_llm_pytorch' or 'torch'"
        )
    tokenizer = load_tokenizer(config.llm_folder, config.generation)
    template = choose_conversation(conversation, config, tokenizer)
    place = torch.device(device)
    tower: Any
    projector: Any
    if encoder is None:
        tower, projector = _load_tower(config, dtype, place)
    else:
        tower, projector = _fitting(encoder, config), PassThrough()
    return Vila(
        config,
        tokenizer,
        template,
        ImageProcessor.from_config(config),
        tower,
        projector,
        LanguageModelElsewhere(config.llm_folder),
        place,
        dtype,
    )


def load_tower(
    config: VilaConfig, dtype: torch.dtype, place: torch.device
) -> tuple[VisionTower, Projector]:
    """Vision tower and projector with their weights."""
    with torch.device("meta"):
        tower = flattened(VisionTower.from_config(config))
        projector = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
    load_weights(tower, config.vision_folder, tower.published_name, dtype, place)
    load_weights(projector, config.projector_folder, str, dtype, place)
    return tower, projector


def flattened(tower: VisionTower) -> VisionTower:
    """The tower as transformers 5 builds it, also under transformers 4, which TensorRT-LLM pins.

    There SigLIP and CLIP stand one module deeper, and bring a final norm and a head that VILA does
    not read.
    """
    inner = getattr(tower.encoder, "vision_model", None)
    if inner is not None:
        inner.post_layernorm = nn.Identity()
        if hasattr(inner, "head"):
            del inner.head
        tower.encoder = inner
    return tower


def _load_tower(
    config: VilaConfig, dtype: torch.dtype, place: torch.device
) -> tuple[VisionTower, Projector]:
    try:
        return load_tower(config, dtype, place)
    except torch.cuda.OutOfMemoryError as error:
        free = torch.cuda.mem_get_info(place)[0] / 2**30
        raise OutOfMemory(
            f"out of memory while loading the vision tower: {free:.2f} GiB free on {place}; lower "
            "kv_cache_fraction, or build a visual engine"
        ) from error


def _fitting(encoder: ImageEncoder, config: VilaConfig) -> EncodedTower:
    """The encoder in the tower's place. Raises InvalidCheckpoint if it is of another model."""
    if config.scales is not None:
        raise Unsupported(
            f"{config.root} sees images at several scales (S2), which a visual engine cannot; "
            "remove vision/ from the engine folder to run the tower in torch"
        )
    with torch.device("meta"):
        tower = VisionTower.from_config(config)
        projector = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
    expected = projector.tokens(tower.tokens)
    if encoder.rows != expected:
        raise InvalidCheckpoint(
            f"the visual engine gives {encoder.rows} rows an image, {config.root} has {expected}; "
            "they are of different models"
        )
    return EncodedTower(encoder)
