# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A model to begin with, of parts: a vision tower, a language model, and a new projector."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import VISION_KINDS, read_config, read_json
from vila_ros.model.conversation import find_template
from vila_ros.model.language_model import language_name
from vila_ros.model.projector import Projector
from vila_ros.model.tokenizer import load_tokenizer
from vila_ros.model.vision_tower import VisionTower
from vila_ros.model.weights import open_weights, walk
from vila_ros.training.writing import WEIGHT_FILES, whole_folder

# Such a checkpoint follows VILA1.5's layout: images stand in the text without a token of their own.
WRITTEN_AS = "4.36.2"


@dataclass(frozen=True)
class Parts:
    """vision, language: folders as transformers writes them. projector: its kind.

    conversation: the template's name; for a language model without one of its own "vicuna_v1"
    serves. select_layer: whose hidden states are read, -2 the last but one.
    """

    vision: Path
    language: Path
    projector: str = "mlp_downsample_2x2_fix"
    conversation: str = "vicuna_v1"
    select_layer: int = -2
    context: int = 4096


def assemble(parts: Parts, folder: Path, seed: int = 0) -> Path:
    """Write the parts as one checkpoint; the projector's weights are drawn by the seed.

    Raises InvalidCheckpoint and InvalidRequest naming the part and what is wrong with it.
    """
    vision = read_json(parts.vision / "config.json")
    inner = vision.get("vision_config", vision)
    kind = str(inner.get("model_type", vision.get("model_type")))
    if kind not in VISION_KINDS:
        raise InvalidCheckpoint(
            f"{parts.vision / 'config.json'}: model_type {kind!r} is no vision tower; known are "
            f"{', '.join(VISION_KINDS)}"
        )
    if not (parts.vision / "preprocessor_config.json").is_file():
        raise InvalidCheckpoint(
            f"{parts.vision / 'preprocessor_config.json'} is missing; it says how images are sized"
        )
    language = read_json(parts.language / "config.json")
    find_template(parts.conversation, load_tokenizer(parts.language, "vila1.5"))
    with whole_folder(folder) as part:
        _copy_language(parts.language, part / "llm")
        _write_root(parts, part, inner, language)
        _copy_vision(parts.vision, part)
        _draw_projector(part, seed)
    return folder


def _write_root(
    parts: Parts, folder: Path, vision: dict[str, Any], language: dict[str, Any]
) -> None:
    root = {
        "architectures": ["LlavaLlamaModel"],
        "model_type": "llava_llama",
        "conversation": parts.conversation,
        "hidden_size": language.get("hidden_size"),
        "mm_hidden_size": vision.get("hidden_size"),
        "image_aspect_ratio": "resize",
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "cls_patch" if _no_class_token(vision) else "patch",
        "mm_vision_select_layer": parts.select_layer,
        "num_video_frames": 8,
        "llm_cfg": "llm",
        "vision_tower_cfg": "vision_tower",
        "mm_projector_cfg": "mm_projector",
        "transformers_version": WRITTEN_AS,
    }
    files = {
        "config.json": root,
        "vision_tower/config.json": vision,
        "mm_projector/config.json": {
            "model_type": "v2l_projector",
            "mm_projector_type": parts.projector,
        },
        "llm/config.json": {**language, "tokenizer_model_max_length": parts.context},
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(data, indent=2))


def _no_class_token(vision: dict[str, Any]) -> bool:
    return VISION_KINDS[str(vision["model_type"])] == "siglip"


def _copy_language(source: Path, target: Path) -> None:
    target.mkdir()
    names = {language_name(stored) for _, stored, _ in walk(open_weights(source))}
    if "model.embed_tokens.weight" not in names:
        raise InvalidCheckpoint(f"{source} holds no language model: no model.embed_tokens.weight")
    for file in sorted(source.iterdir()):
        if file.is_file() and file.suffix not in (".gguf", ".pt", ".pth"):
            shutil.copyfile(file, target / file.name)


def _copy_vision(source: Path, folder: Path) -> None:
    """The tower's tensors without those of a text tower that may stand beside it."""
    from safetensors.torch import save_file

    target = folder / "vision_tower"
    for file in sorted(source.iterdir()):
        if file.is_file() and not WEIGHT_FILES.fullmatch(file.name) and file.name != "config.json":
            shutil.copyfile(file, target / file.name)
    with torch.device("meta"):
        tower = VisionTower.from_config(read_config(folder))
    wanted = set(tower.state_dict())
    tensors = {
        stored: file.read(stored).clone()
        for file, stored, _ in walk(open_weights(source))
        if (name := tower.published_name(stored)) in wanted or not name
    }
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})


def _draw_projector(folder: Path, seed: int) -> None:
    from safetensors.torch import save_file

    config = read_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
    save_file(
        module.state_dict(),
        folder / "mm_projector" / "model.safetensors",
        metadata={"format": "pt"},
    )
