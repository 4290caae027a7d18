# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA as a module that learns: a batch in, its loss out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.model.interleave import IGNORE_LABEL
from vila_ros.model.multiscale import (
    merge_scales,
    merge_tiles,
    repeat_scales,
    split_tiles,
    to_maps,
    to_tokens,
)
from vila_ros.model.video import pool
from vila_ros.model.vila import TOWER_BATCH, Vila
from vila_ros.training.encoding import MEDIA_ID
from vila_ros.training.packing import PackedRows, attention_bounds
from vila_ros.training.stages import PARTS, Part


@dataclass(frozen=True, eq=False)
class MediaInput:
    """What a slot's medium is computed from; exactly one of pixels and features is given.

    pixels: float32 [T, 3, S, S], normalised; the tiles of an image, or the frames of a clip.
    features: [T, N, C], what the vision tower makes of them; only while the tower is frozen.
    grid: (rows, columns) of a tiled image. clip: whether the T are frames of one clip.
    """

    pixels: torch.Tensor | None = None
    features: torch.Tensor | None = None
    grid: tuple[int, int] | None = None
    clip: bool = False


@dataclass(frozen=True, eq=False)
class TrainingBatch:
    """Packed rows, and one MediaInput for each of their slots, in order."""

    rows: PackedRows
    media: tuple[MediaInput, ...] = ()

    def to(self, device: torch.device) -> TrainingBatch:
        """The batch with its rows on a device; media follow part by part when they are used."""
        rows = self.rows
        moved = PackedRows(
            rows.ids.to(device),
            rows.labels.to(device),
            rows.positions.to(device),
            rows.example.to(device),
            rows.branch.to(device),
            rows.slots,
        )
        return TrainingBatch(moved, self.media)


class TrainingOutput(NamedTuple):
    """loss: mean cross entropy of the labels. total: their sum. learnt: how many, int64 scalar.

    logits: float32 [learnt, V], for each label, in order, what predicted it.
    """

    loss: torch.Tensor
    total: torch.Tensor
    learnt: torch.Tensor
    logits: torch.Tensor


class VilaForTraining(nn.Module):
    """The vision tower, projector and language model of a Vila, which share its parameters.

    tuned: the parts that learn; the others are frozen. gradient_checkpointing: compute activations
    again in the backward pass instead of keeping them. uniform: run all parts on every batch, also
    on one without media, which several processes need to stay in step.
    """

    def __init__(
        self,
        vila: Vila,
        tuned: Collection[Part] = PARTS,
        *,
        gradient_checkpointing: bool = False,
        uniform: bool = False,
    ):
        super().__init__()
        self.config = vila.config
        self.tile_tokens = vila.tile_tokens
        self.vision_tower = vila.vision_tower
        self.projector = vila.projector
        self.language_model = vila.language_model
        self.uniform = uniform
        self.tuned: frozenset[Part] = frozenset()
        self.tune(tuned)
        self._checkpoints_tower = False
        if gradient_checkpointing:
            self._checkpoint_gradients()

    def tune(self, parts: Collection[Part]) -> None:
        """Choose the parts that learn."""
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise InvalidRequest(f"{', '.join(unknown)} is no part; a model has {', '.join(PARTS)}")
        self.tuned = frozenset(parts)
        for name in PARTS:
            self.get_submodule(name).requires_grad_(name in self.tuned)
        self.train()

    def train(self, mode: bool = True) -> VilaForTraining:
        """As nn.Module.train; frozen vision stays in evaluation mode."""
        super().train(mode)
        if "vision_tower" not in self.tuned:
            self.vision_tower.eval()
        return self

    def forward(self, batch: TrainingBatch) -> TrainingOutput:
        """The loss of a batch; logits are computed where there is a label alone."""
        rows = batch.rows
        embeddings = self.embed(batch)
        packed = rows.packed
        bounds = attention_bounds(rows.example, rows.branch) if packed else None
        # Without packing the padding stands behind everything that is read, so plain causal
        # attention needs no mask. Positions then count through it: where they restart,
        # transformers takes a sequence for a packed one.
        length = rows.ids.shape[1]
        counted = torch.arange(length, device=rows.ids.device).expand_as(rows.ids)
        hidden = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=bounds,
            position_ids=rows.positions if packed else counted,
            use_cache=False,
        ).last_hidden_state
        places = rows.labels[:, 1:] != IGNORE_LABEL
        logits = self.language_model.lm_head(hidden[:, :-1][places]).float()
        total = cross_entropy(logits, rows.labels[:, 1:][places], reduction="sum")
        learnt = places.sum()
        return TrainingOutput(total / learnt.clamp(min=1), total, learnt, logits)

    def embed(self, batch: TrainingBatch) -> torch.Tensor:
        """The input of the language model, [B, L, H]: embedded text, and media in their rows."""
        ids = batch.rows.ids
        places = ids == MEDIA_ID
        embeddings = self.language_model.model.embed_tokens(ids.masked_fill(places, 0))
        wanted = sum(slot.rows for slot in batch.rows.slots)
        if len(batch.media) != len(batch.rows.slots) or wanted != int(places.sum()):
            raise InvalidRequest(
                f"a batch with {len(batch.rows.slots)} media of {wanted} rows was given "
                f"{len(batch.media)} media for {int(places.sum())} rows"
            )
        if not batch.media:
            return embeddings + self._nothing().to(embeddings) if self.uniform else embeddings
        media = torch.cat(self.media_rows(batch.media))
        if len(media) != wanted:
            raise InvalidRequest(f"media give {len(media)} rows where {wanted} have their place")
        return embeddings.masked_scatter(places[..., None], media.to(embeddings.dtype))

    def media_rows(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        """The projected rows of each medium, [n, H], without framing text."""
        features = self.see(media)
        scales = self.config.scales
        if scales is None or not scales.dynamic:
            projected = self._project(torch.cat(features))
            tokens = projected.split([len(part) for part in features])
        else:
            tokens = tuple(
                self._project_scales(part, medium.grid)
                for part, medium in zip(features, media, strict=True)
            )
        return [
            self._pooled(part) if medium.clip else part.flatten(0, 1)
            for part, medium in zip(tokens, media, strict=True)
        ]

    def see(self, media: Sequence[MediaInput]) -> list[torch.Tensor]:
        """The vision features of each medium, [T, N, C]; those that are given are taken."""
        learns = "vision_tower" in self.tuned
        pixels = [medium.pixels for medium in media if medium.pixels is not None]
        if learns and len(pixels) < len(media):
            raise InvalidRequest(
                "the vision tower learns, so its features cannot be given; give pixels"
            )
        seen: Iterator[torch.Tensor] = iter(())
        if pixels:
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                made = torch.cat(
                    [self._tower(part) for part in torch.cat(pixels).split(TOWER_BATCH)]
                )
            seen = iter(made.split([len(part) for part in pixels]))
        features = []
        for medium in media:
            if (medium.pixels is None) == (medium.features is None):
                raise InvalidRequest("a medium is given as pixels or as features, one of both")
            given = medium.features
            features.append(next(seen) if given is None else given.to(self._place(self.projector)))
        return features

    def _tower(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels.to(self._place(self.vision_tower))
        weight = next(self.vision_tower.parameters())
        pixels = pixels.to(weight.dtype)
        if self._checkpoints_tower and torch.is_grad_enabled():
            return checkpoint(self.vision_tower, pixels, use_reentrant=False)
        return self.vision_tower(pixels)

    def _project(self, features: torch.Tensor) -> torch.Tensor:
        return self.projector(features.to(next(self.projector.parameters()).dtype))

    def _project_scales(self, features: torch.Tensor, grid: tuple[int, int] | None) -> torch.Tensor:
        """Dynamic S2, as Vila.project: [T, N, C] -> [T or 1, n, H]."""
        scales = self.config.scales
        assert scales is not None
        if grid is None:
            return self._project(repeat_scales(features, scales))
        merged, (rows, columns) = merge_scales(features, grid, scales)
        projected = self._project(to_tokens(split_tiles(merged, rows, columns)))
        return to_tokens(merge_tiles(to_maps(projected), rows, columns))

    def _pooled(self, frames: torch.Tensor) -> torch.Tensor:
        """A clip's projected frames [T, n, H] -> its rows [m, H], level after level."""
        levels = self.config.video_encoder.pool_sizes
        parts = [pool(frames, level) for level in levels] if levels else [frames]
        return torch.cat([part.flatten(0, 1) for part in parts])

    def _nothing(self) -> torch.Tensor:
        """Zero, computed by the vision parts: their gradients are then there, and zero."""
        size = self.config.vision.image_size
        if self.config.scales is not None and not self.config.scales.dynamic:
            size = self.config.scales.sizes[-1]
        blank = MediaInput(pixels=torch.zeros(1, 3, size, size))
        return torch.cat(self.media_rows([blank])).sum() * 0.0

    def _checkpoint_gradients(self) -> None:
        """By the models' own layers where they offer it, else the tower as a whole."""
        _recompute_layers(self.language_model)
        if "vision_tower" in self.tuned:
            encoder: Any = self.vision_tower.encoder
            if getattr(encoder, "supports_gradient_checkpointing", False):
                _recompute_layers(encoder)
            else:
                self._checkpoints_tower = True

    @staticmethod
    def _place(module: nn.Module) -> torch.device:
        return next(module.parameters()).device


def check_trainable(vila: Vila, parts: Collection[Part]) -> None:
    """Raise Unsupported for a model that cannot be trained so.

    Weights that are stored as integers (AWQ) have no gradients.
    """
    for name in parts:
        module = {
            "vision_tower": vila.vision_tower,
            "projector": vila.projector,
            "language_model": vila.language_model,
        }[name]
        fixed = [k for k, v in module.state_dict().items() if not v.is_floating_point()]
        if fixed:
            raise Unsupported(
                f"the {name.replace('_', ' ')} has integer weights ({fixed[0]}); fine-tune the "
                "full-precision checkpoint and quantize the result"
            )


def _recompute_layers(model: Any) -> None:
    """Gradient checkpointing of a transformers model; its method has a new name in 5.2x."""
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
