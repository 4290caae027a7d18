# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of real shapes with random weights, for tests and for benchmarks.

They are complete folders in the published layout, tokenizer included, and are loaded like any
other. Speed and memory are those of the real model; answers are random text.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vila_ros.errors import InvalidRequest
from vila_ros.model.config import read_config
from vila_ros.model.language_model import build_language_model
from vila_ros.model.projector import Projector
from vila_ros.model.vision_tower import VisionTower

SHARD_BYTES = 1 << 30


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. image: side in pixels; mlp sizes are those of the feed-forward layers."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    context: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_mlp: int
    image: int
    conversation: str = "vicuna_v1"
    rope_theta: float = 10_000.0


_SO400M: Any = {
    "vision_hidden": 1152,
    "vision_layers": 27,
    "vision_heads": 16,
    "vision_mlp": 4304,
    "image": 384,
}

# The real sizes are those of the published config.json files.
SHAPES: Mapping[str, Shape] = {
    "tiny": Shape(64, 2, 4, 2, 128, 512, 2048, 32, 3, 4, 64, 56),
    "vila1.5-3b": Shape(2560, 32, 20, 20, 6912, 32000, 4096, **_SO400M),
    "vila1.5-8b": Shape(
        4096, 32, 32, 8, 14336, 128256, 8192, **_SO400M, conversation="llama_3", rope_theta=5e5
    ),
    "vila1.5-13b": Shape(5120, 40, 40, 40, 13824, 32000, 4096, **_SO400M),
}


def write_random_checkpoint(
    folder: Path,
    shape: str | Shape = "tiny",
    seed: int = 0,
    dtype: str = "float32",
    overrides: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint and return its folder, which is created.

    shape: a name in SHAPES, or sizes. dtype: of the stored weights. overrides: keys of the root
    config.json to set, or to remove by None; "mm_projector_type" names the projector.
    The same arguments write the same bytes. Raises InvalidRequest for an unknown shape or dtype.
    """
    if isinstance(shape, str):
        if shape not in SHAPES:
            raise InvalidRequest(f"shape {shape!r} is unknown; known are {', '.join(SHAPES)}")
        shape = SHAPES[shape]
    stored = {name: getattr(torch, name) for name in ("float32", "float16", "bfloat16")}.get(dtype)
    if stored is None:
        raise InvalidRequest(f"dtype {dtype!r} is unknown; use float32, float16 or bfloat16")
    _write_configs(folder, shape, dtype, dict(overrides or {}))
    _write_tokenizer(folder / "llm", shape)
    config = read_config(folder)
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "llm": build_language_model(config.language),
            "vision_tower": VisionTower.from_config(config),
            "mm_projector": Projector(
                config.projector, config.mm_hidden_size, config.language.hidden_size
            ),
        }
    random = torch.Generator().manual_seed(seed)
    for name, module in parts.items():
        prefix = ("encoder.", "vision_model.") if name == "vision_tower" else ("", "")
        _write_weights(folder / name, module, prefix, stored, random)
    return folder


def _write_configs(folder: Path, shape: Shape, dtype: str, overrides: dict[str, Any]) -> None:
    projector = overrides.pop("mm_projector_type", None) or "mlp_downsample"
    common = {"torch_dtype": dtype, "transformers_version": "4.36.2"}
    root = {
        "architectures": ["LlavaLlamaModel"],
        "model_type": "llava_llama",
        "hidden_size": shape.hidden,
        "image_aspect_ratio": "resize",
        "mm_hidden_size": shape.vision_hidden,
        "mm_vision_select_feature": "cls_patch",
        "mm_vision_select_layer": -2,
        "mm_use_im_start_end": False,
        "num_video_frames": 8,
        "conversation": shape.conversation,
        "llm_cfg": "llm",
        "vision_tower_cfg": "vision_tower",
        "mm_projector_cfg": "mm_projector",
        **common,
        **overrides,
    }
    llm = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.mlp,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": shape.rope_theta,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        **common,
    }
    vision = {
        "architectures": ["SiglipVisionModel"],
        "model_type": "siglip_vision_model",
        "hidden_size": shape.vision_hidden,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": shape.vision_heads,
        "intermediate_size": shape.vision_mlp,
        "image_size": shape.image,
        "patch_size": 14,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        **common,
    }
    preprocessor = {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": shape.image, "width": shape.image},
    }
    files = {
        "config.json": {key: value for key, value in root.items() if value is not None},
        "llm/config.json": llm,
        "vision_tower/config.json": vision,
        "vision_tower/preprocessor_config.json": preprocessor,
        "mm_projector/config.json": {"mm_projector_type": projector, **common},
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(data, indent=2))


def _write_tokenizer(folder: Path, shape: Shape) -> None:
    """A byte-level tokenizer whose vocabulary is filled up with joined letters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    special = ["<unk>", "<s>", "</s>", "<|begin_of_text|>", "<|start_header_id|>"]
    special += ["<|end_header_id|>", "<|eot_id|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: index for index, token in enumerate(special)}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    merges = []
    for left, right in _joined_letters():
        if len(vocabulary) >= shape.vocabulary:
            break
        if left + right not in vocabulary:
            vocabulary[left + right] = len(vocabulary)
            merges.append((left, right))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<unk>",
        "model_max_length": shape.context,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def _joined_letters() -> Iterator[tuple[str, str]]:
    """Pairs to merge: two letters, then three, …; a space before a word is written Ġ."""
    letters = "Ġetaoinshrdlucmfwygpbvkxqjz"
    words = list(letters)
    while True:
        words = [left + right for left, right in itertools.product(words, letters[1:])]
        yield from ((word[:-1], word[-1]) for word in words)


def _write_weights(
    folder: Path,
    module: nn.Module,
    prefix: tuple[str, str],
    dtype: torch.dtype,
    random: torch.Generator,
) -> None:
    """Safetensors in shards of about SHARD_BYTES, named as published."""
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, tensor in module.state_dict().items():
        if size and size + tensor.numel() * dtype.itemsize > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name.replace(*prefix, 1) if prefix[0] else name] = tuple(tensor.shape)
        size += tensor.numel() * dtype.itemsize
    _save_shards(folder, shards, dtype, random)


def _save_shards(
    folder: Path,
    shards: list[dict[str, tuple[int, ...]]],
    dtype: torch.dtype,
    random: torch.Generator,
) -> None:
    from safetensors.torch import save_file

    places = {}
    for index, shapes in enumerate(shards):
        name = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        name = name if len(shards) > 1 else "model.safetensors"
        tensors = {key: _random_tensor(key, shape, random) for key, shape in shapes.items()}
        save_file(
            {key: tensor.to(dtype) for key, tensor in tensors.items()},
            folder / name,
            metadata={"format": "pt"},
        )
        places.update(dict.fromkeys(shapes, name))
    if len(shards) > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def _random_tensor(name: str, shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    """Norms near 1, biases near 0, and weights that keep activations of order one."""
    tensor = torch.empty(shape).normal_(generator=random)
    if len(shape) == 1:
        return 0.02 * tensor + (0.0 if name.endswith("bias") else 1.0)
    fan_in = tensor[0].numel() if "embed_tokens" not in name else 1
    return tensor * fan_in**-0.5
