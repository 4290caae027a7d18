# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint is and needs, from its configuration and the headers of its weight files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from vila_ros.model.checkpoint import COMPUTE_DTYPES, stored_dtype
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.conversation import choose_conversation
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.model.projector import Projector
from vila_ros.model.tokenizer import load_tokenizer
from vila_ros.model.vila import Vila
from vila_ros.model.vision_tower import VisionTower
from vila_ros.model.weights import open_weights, walk
from vila_ros.quantization.int4_folder import Int4Folder, open_int4
from vila_ros.quantization.seal import SEAL

# Bits of a weight in groups of 128: the number itself, its share of a 16-bit scale and a 4-bit
# zero point (AWQ's "gemm" layout).
INT4_BITS = 4 + 16 / 128 + 4 / 128
HALF_BYTES = 2


@dataclass(frozen=True)
class Part:
    """One of the three networks. parameters: as stored; bytes: as stored on the disk."""

    kind: str
    parameters: int
    bytes: int


@dataclass(frozen=True)
class Memory:
    """Bytes on the device at one precision of the language model; the rest is in 16 bits."""

    language_model: int
    vision_tower: int
    projector: int
    kv_cache_per_1000_tokens: int

    @property
    def weights(self) -> int:
        """All weights together."""
        return self.language_model + self.vision_tower + self.projector


@dataclass(frozen=True)
class Runtime:
    """Whether a runtime can serve the model, and what to know about that."""

    name: str
    can: bool
    note: str


@dataclass(frozen=True)
class ModelInfo:
    """What `vila model info` shows; tokens_per_image: of an image that is not tiled."""

    name: str
    generation: str
    language_model: Part
    vision_tower: Part
    projector: Part
    stored_dtype: str
    conversation: str
    token_order: str
    token_order_reason: str
    context_length: int
    image_size: int
    image_aspect_ratio: str
    tokens_per_image: int
    most_tokens_per_image: int
    fp16: Memory
    int4: Memory
    runtimes: tuple[Runtime, ...]


def describe_model(
    folder: Path, token_order: str | None = None, conversation: str | None = None
) -> ModelInfo:
    """Read a checkpoint folder; no weights are loaded. Raises InvalidCheckpoint."""
    config = read_config(folder, token_order)
    quantised = open_int4(config.llm_folder)
    language = _part(f"{config.language.kind}", config.llm_folder)
    if quantised is not None:
        language = replace(language, parameters=_parameters(quantised))
    stored = _dtype_name(stored_dtype(config.llm_folder))
    tower = _part(config.vision.kind, config.vision_folder)
    projector = _part(config.projector, config.projector_folder)
    vila = _without_weights(config, conversation)
    rest = (tower.parameters * HALF_BYTES, projector.parameters * HALF_BYTES, _kv_bytes(config))
    return ModelInfo(
        name=config.name,
        generation=config.generation,
        language_model=language,
        vision_tower=tower,
        projector=projector,
        stored_dtype=stored if quantised is None else _int4_name(quantised, stored),
        conversation=vila.conversation.name,
        token_order=config.token_order,
        token_order_reason=config.token_order_reason,
        context_length=vila.context_length,
        image_size=config.vision.image_size,
        image_aspect_ratio=config.image_aspect_ratio or "of the preprocessor",
        tokens_per_image=vila.image_tokens(config.vision.image_size, config.vision.image_size),
        most_tokens_per_image=_most_tokens(vila),
        fp16=Memory(language.parameters * HALF_BYTES, *rest),
        int4=Memory(language.bytes if quantised else _int4_bytes(config.llm_folder), *rest),
        runtimes=_runtimes(config, quantised),
    )


def _part(kind: str, folder: Path) -> Part:
    infos = [info for _, _, info in walk(open_weights(folder))]
    return Part(kind, sum(i.elements for i in infos), sum(i.bytes for i in infos))


def _without_weights(config: VilaConfig, conversation: str | None) -> Vila:
    """The model with modules that hold no memory: enough to count tokens."""
    tokenizer = load_tokenizer(config.llm_folder, config.generation)
    with torch.device("meta"):
        tower = VisionTower.from_config(config)
        projector = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
    return Vila(
        config,
        tokenizer,
        choose_conversation(conversation, config, tokenizer),
        ImageProcessor.from_config(config),
        tower,
        projector,
        None,
        torch.device("meta"),
        torch.float16,
    )


def _most_tokens(vila: Vila) -> int:
    """The most an image takes, over all shapes of tilings."""
    size, most = vila.config.vision.image_size, vila.config.max_tiles
    if not vila.image_processor.tiles_images:
        return vila.image_tokens(size, size)
    shapes = ((size * rows, size * (most // rows)) for rows in range(1, most + 1))
    return max(vila.image_tokens(height, width, True) for height, width in shapes)


def _int4_bytes(folder: Path) -> int:
    """The linear layers in int4; embeddings, output layer and norms in 16 bits."""
    total = 0.0
    for _, name, info in walk(open_weights(folder)):
        packed = ".layers." in f".{name}" and len(info.shape) == 2
        total += info.elements * (INT4_BITS / 8 if packed else HALF_BYTES)
    return round(total)


def _parameters(source: Int4Folder) -> int:
    """Parameters of the model before it was packed."""
    packed = 0
    for tensors in source.layers.values():
        for suffix in ("weight_packed", "qweight", "weight"):
            if suffix in tensors:
                info = tensors[suffix].info
                packed += info.bytes * 2
                break
        bias = tensors.get("bias")
        packed += bias.info.elements if bias else 0
    return packed + sum(stored.info.elements for stored in source.others.values())


def _int4_name(source: Int4Folder, rest: str) -> str:
    sealed = "sealed" if (source.folder / SEAL).is_file() else "not sealed"
    return f"int4 ({source.format.name}, {sealed}), the rest {rest}"


def _kv_bytes(config: VilaConfig) -> int:
    """Keys and values of 1000 tokens in 16 bits."""
    language = config.language
    return 1000 * 2 * language.layers * language.kv_heads * language.head_size * HALF_BYTES


def _dtype_name(dtype: torch.dtype) -> str:
    return next(name for name, known in COMPUTE_DTYPES.items() if known == dtype)


def _runtimes(config: VilaConfig, quantised: Int4Folder | None) -> tuple[Runtime, ...]:
    """Facts from NVIDIA/TensorRT-LLM: examples/models/core/multimodal up to 1.2.1, issues 2706,
    2707 and 13082, and _torch/models/modeling_vila.py."""
    older = config.generation == "vila1.5"
    known = config.vision.kind != "dinov2"
    if not known:
        foreign = f"does not know a {config.vision.kind} vision tower"
        engine = backend = Runtime("", False, foreign)
    else:
        engine = Runtime(
            "",
            older,
            "up to tensorrt_llm 1.2.1; later versions lack engines"
            if older
            else "its engines are for VILA1.5 only",
        )
        backend = Runtime(
            "",
            True,
            "on CUDA, not on AGX Orin; no KV cache reuse"
            + ("" if older else "; NVILA is registered, loading has been reported to fail"),
        )
    if quantised is not None:
        other = "builds from the float checkpoint (vila build-engine)"
        engine = Runtime("", False, other)
        if quantised.format.name != "modelopt":
            backend = Runtime("", False, "reads int4 of format modelopt alone")
    return (
        Runtime("torch", True, "CPU and CUDA, in this package"),
        Runtime("tensorrt_llm (engine)", engine.can, engine.note),
        Runtime("tensorrt_llm (pytorch)", backend.can, backend.note),
    )
