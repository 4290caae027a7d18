# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The vision tower: normalised pixels to patch features.

VILA takes the hidden states of one layer (usually the last but one) before any final norm. Layers
behind it, the final norm and pooling heads are neither built nor loaded.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import Scales, VilaConfig, VisionConfig
from vila_ros.model.intern_vit import InternVit, InternVitShape
from vila_ros.model.multiscale import encode_scales

# Published names -> names in the modules of transformers 5.23, applied in order.
RENAMES = {
    "siglip": ((r"^vision_model\.", ""),),
    "clip": ((r"^vision_model\.", ""),),
    "internvit": (),
    "dinov2": (
        (r"^dinov2\.", ""),
        (r"attention\.attention\.query", "attention.q_proj"),
        (r"attention\.attention\.key", "attention.k_proj"),
        (r"attention\.attention\.value", "attention.v_proj"),
        (r"attention\.output\.dense", "attention.o_proj"),
    ),
}
# What published towers hold beyond the layers used here.
UNUSED = re.compile(
    r"post_layernorm\.|head\.|layernorm\.|embeddings\.(position_ids|mask_token)$"
    r"|encoder\.layers?\.\d+\."
)


class VisionTower(nn.Module):
    """A SigLIP, CLIP, InternViT or DINOv2 encoder up to the layer that the model reads."""

    def __init__(
        self,
        config: VisionConfig,
        select_layer: int = -2,
        select_feature: str = "cls_patch",
        scales: Scales | None = None,
    ):
        super().__init__()
        self.config = config
        self.layers = count_layers(config, select_layer)
        self.drops_first = select_feature == "patch"
        self.scales = scales
        self.encoder = _build(config, self.layers)

    @classmethod
    def from_config(cls, config: VilaConfig) -> VisionTower:
        """The tower of a whole model's configuration."""
        return cls(config.vision, config.select_layer, config.select_feature, config.scales)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] normalised -> [B, N, C]; with (not dynamic) S2 C is once for each scale."""
        if self.scales is not None and not self.scales.dynamic:
            return encode_scales(self.encode, pixels, self.scales)
        return self.encode(pixels)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """One scale: [B, 3, S, S] -> [B, N, C].

        select_feature "patch" drops the first token: the class token, or, with SigLIP, which has
        none, a real patch; so does the reference.
        """
        tower: Any = self.encoder
        if self.config.kind == "internvit":
            hidden = tower(pixels)
        else:
            hidden = tower.embeddings(pixels)
            if self.config.kind == "clip":
                hidden = tower.pre_layrnorm(hidden)
            hidden = tower.encoder(hidden).last_hidden_state
        return hidden[:, 1:] if self.drops_first else hidden

    @property
    def tokens(self) -> int:
        """N: vision tokens of one image, the class token where it is kept included."""
        count = (self.config.image_size // self.config.patch_size) ** 2
        count += int(self.config.has_class_token) - int(self.drops_first)
        if self.scales is None or self.scales.dynamic:
            return count
        # The grid at the output scale, which the other scales are resized to.
        side = self.scales.sizes[self.scales.output] / self.scales.tile * count**0.5
        return round(side) ** 2

    @property
    def dtype(self) -> torch.dtype | None:
        """What its pixels must be; it may differ from the language model's."""
        return next(self.parameters()).dtype

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.state_dict())

    def published_name(self, name: str) -> str:
        """This module's name for a published tensor; "" for one that is not used here."""
        # Older releases have the published names, or some of them: the least change that fits.
        own = f"encoder.{name}"
        for pattern, replacement in RENAMES[self.config.kind]:
            if own in self._names:
                return own
            name = re.sub(pattern, replacement, name)
            own = f"encoder.{name}"
        return own if own in self._names or not UNUSED.match(name) else ""


def count_layers(config: VisionConfig, select_layer: int) -> int:
    """Layers that run for hidden_states[select_layer], where hidden_states[0] are embeddings."""
    layers = select_layer if select_layer >= 0 else config.layers + 1 + select_layer
    if not 0 <= layers <= config.layers:
        raise InvalidCheckpoint(
            f"mm_vision_select_layer {select_layer} names none of {config.layers} vision layers"
        )
    return layers


def _build(config: VisionConfig, layers: int) -> nn.Module:
    """The encoder with its first layers; parameters are made on the current default device."""
    raw = {**config.raw, "num_hidden_layers": layers}
    for key in ("architectures", "auto_map", "torch_dtype", "dtype", "_name_or_path"):
        raw.pop(key, None)
    if config.kind == "internvit":
        return InternVit(InternVitShape.from_config(raw), layers)
    if config.kind == "siglip":
        from transformers import SiglipVisionConfig, SiglipVisionModel

        return _bare(SiglipVisionModel(SiglipVisionConfig(**{**raw, "vision_use_head": False})))
    if config.kind == "clip":
        from transformers import CLIPVisionConfig, CLIPVisionModel

        return _bare(CLIPVisionModel(CLIPVisionConfig(**raw)))
    from transformers import Dinov2Config, Dinov2Model

    dinov2 = Dinov2Model(Dinov2Config(**raw))
    dinov2.layernorm = nn.Identity()
    dinov2.embeddings.mask_token = None
    return dinov2


def _bare(tower: nn.Module) -> nn.Module:
    """Without the norm behind the last layer. Older transformers wrap the tower in another module,
    as TensorRT-LLM's release does."""
    bare = getattr(tower, "vision_model", tower)
    assert isinstance(bare, nn.Module)
    bare.post_layernorm = nn.Identity()
    return bare
