# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Towers against the same networks as transformers runs them whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    InternVLVisionConfig,
    InternVLVisionModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import Scales, VisionConfig
from vila_ros.model.vision_tower import VisionTower

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 56,
    "patch_size": 14,
}
PIXELS = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))


def randomize(model: torch.nn.Module) -> torch.nn.Module:
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3, generator=random)
    return model.eval()


def tower(kind: str, select_layer: int = -2, select: str = "cls_patch", **raw: Any) -> VisionTower:
    config = VisionConfig(kind, 32, 3, 56, 14, {**SIZES, **raw})  # type: ignore[arg-type]
    return VisionTower(config, select_layer, select).eval().requires_grad_(False)


def give_weights(
    tower: VisionTower,
    weights: dict[str, torch.Tensor],
    stored_name: Callable[[str], str] = lambda name: name,
) -> None:
    """Load by the names that checkpoints have."""
    loaded = {tower.published_name(stored_name(name)): value for name, value in weights.items()}
    loaded.pop("", None)
    tower.load_state_dict(loaded)


def reference(kind: str) -> torch.nn.Module:
    return randomize(
        {
            "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**SIZES)),
            "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**SIZES)),
            "dinov2": lambda: Dinov2Model(Dinov2Config(**SIZES)),
        }[kind]()
    )


def old_name(name: str) -> str:
    """What transformers 4 called it, as published files do."""
    for old, new in {
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
    }.items():
        name = name.replace(new, old) if "layer." in name else name
    return name


@pytest.mark.parametrize("kind", ["siglip", "clip", "dinov2"])
@pytest.mark.parametrize("layer", [-1, -2, 0, 1, 3])
def test_hidden_states_of_the_selected_layer(kind: str, layer: int):
    model = reference(kind)
    mine = tower(kind, layer)
    prefix = "" if kind == "dinov2" else "vision_model."
    give_weights(mine, model.state_dict(), lambda name: prefix + old_name(name))
    with torch.no_grad():
        expected = model(PIXELS, output_hidden_states=True).hidden_states[layer]
    torch.testing.assert_close(mine(PIXELS), expected, atol=1e-5, rtol=1e-5)
    assert mine.tokens == expected.shape[1]


@pytest.mark.parametrize("kind", ["siglip", "clip", "dinov2"])
def test_patch_drops_the_first_token(kind: str):
    model = reference(kind)
    whole, without = tower(kind), tower(kind, select="patch")
    give_weights(whole, model.state_dict())
    give_weights(without, model.state_dict())
    torch.testing.assert_close(without(PIXELS), whole(PIXELS)[:, 1:])
    assert without.tokens == whole.tokens - 1
    assert whole.tokens == (16 if kind == "siglip" else 17)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_intern_vit(norm: bool, bias: bool):
    sizes = {**SIZES, "image_size": [56, 56], "patch_size": [14, 14]}
    config = InternVLVisionConfig(
        **sizes,
        use_qk_norm=norm,
        attention_bias=bias,
        norm_type="rms_norm",
        layer_norm_eps=1e-6,
        use_absolute_position_embeddings=True,
        use_mean_pooling=True,
        hidden_act="gelu",
    )
    model = randomize(InternVLVisionModel(config))
    mine = tower("internvit", -1, "patch", qkv_bias=bias, qk_normalization=norm)
    give_weights(mine, intern_vit_weights(model.state_dict(), bias))
    with torch.no_grad():
        expected = model(PIXELS, output_hidden_states=True).hidden_states[-1][:, 1:]
    torch.testing.assert_close(mine(PIXELS), expected, atol=1e-4, rtol=1e-4)
    assert mine.tokens == 16


def intern_vit_weights(weights: dict[str, torch.Tensor], bias: bool) -> dict[str, torch.Tensor]:
    """InternVL's names in transformers -> those of OpenGVLab's files."""
    renamed = {}
    for name, value in weights.items():
        for new, old in {
            "embeddings.cls_token": "embeddings.class_embedding",
            "embeddings.position_embeddings": "embeddings.position_embedding",
            "embeddings.patch_embeddings.projection": "embeddings.patch_embedding",
            "encoder.layer.": "encoder.layers.",
            "attention.": "attn.",
            "projection_layer": "proj",
            "layernorm_before": "norm1",
            "layernorm_after": "norm2",
            "lambda_1": "ls1",
            "lambda_2": "ls2",
        }.items():
            name = name.replace(new, old)
        renamed[name] = value
    renamed.pop("embeddings.mask_token", None)
    for kind in ["weight", *(["bias"] if bias else [])]:
        for layer in range(3):
            stem = f"encoder.layers.{layer}.attn"
            parts = [renamed.pop(f"{stem}.{part}_proj.{kind}") for part in "qkv"]
            renamed[f"{stem}.qkv.{kind}"] = torch.cat(parts)
    return renamed


def test_s2_counts_the_tokens_of_its_output_scale():
    config = VisionConfig("siglip", 32, 3, 56, 14, SIZES)
    for output, tokens in ((0, 16), (1, 64)):
        scales = Scales((56, 112), 56, output, dynamic=False)
        mine = VisionTower(config, -2, "cls_patch", scales).eval()
        with torch.no_grad():
            features = mine(torch.randn(1, 3, 112, 112))
        assert features.shape == (1, tokens, 64)
        assert mine.tokens == tokens


@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_that_is_not_there(layer: int):
    with pytest.raises(InvalidCheckpoint, match=f"mm_vision_select_layer {layer} names none of 3"):
        tower("siglip", layer)


def test_unused_parts_of_a_published_tower_are_left_out():
    mine = tower("siglip")
    for name in ("post_layernorm.weight", "head.probe", "encoder.layers.2.layer_norm1.bias"):
        assert mine.published_name(f"vision_model.{name}") == ""
    assert mine.published_name("something.else") == "encoder.something.else"
