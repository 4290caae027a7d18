# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A published checkpoint folder, or a hub id, to a model that can answer.

Modules are built without memory, then given tensors mapped from the files: loading in the stored
type copies nothing, and no second copy is ever written to the disk. No code of a checkpoint runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint, InvalidRequest, OutOfMemory, Unsupported
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.conversation import choose_conversation
from vila_ros.model.embedded import EMBEDDED_MODELS, embedded_model_folder
from vila_ros.model.hub import fetch_snapshot, is_hub_id
from vila_ros.model.image_processing import ImageProcessor
from vila_ros.model.language_model import build_language_model, language_name, restore_buffers
from vila_ros.model.projector import Projector
from vila_ros.model.tokenizer import load_tokenizer
from vila_ros.model.vila import Vila
from vila_ros.model.vision_tower import VisionTower
from vila_ros.model.weights import open_weights, walk
from vila_ros.quantization.int4_folder import load_int4_weights, open_int4
from vila_ros.quantization.int4_linear import wide_dtype
from vila_ros.quantization.seal import check_files, check_finite_answer, check_golden

COMPUTE_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
SCALES = (".scales", ".scaled_zeros", ".weight_scale", ".pre_quant_scale")
"""What int4 layers are restored by, whose type says nothing of the rest."""


def load_vila(
    model: str | Path,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    revision: str | None = None,
    token_order: str | None = None,
    conversation: str | None = None,
) -> Vila:
    """Load a model for inference.

    model: a folder, "vila-nano", or a hub id "owner/name" with an optional revision.
    dtype: "float32", "float16" or "bfloat16"; None keeps the stored one, which loads fastest.
    token_order: "row" or "column" for projector mlp_downsample; None decides by the checkpoint's
    age. conversation: a template's name; None decides by the configuration.

    Raises InvalidCheckpoint naming the file, the tensor, what was expected and what was found;
    InvalidRequest for a bad argument; Unsupported for a device that is not there; OutOfMemory.
    """
    place = _device(device)
    wanted = _dtype(dtype)
    folder = locate(model, revision)
    config = read_config(folder, token_order)
    tokenizer = load_tokenizer(config.llm_folder, config.generation)
    template = choose_conversation(conversation, config, tokenizer)
    kept = wanted or stored_dtype(config.llm_folder)
    with torch.device("meta"):
        tower = VisionTower.from_config(config)
        projector = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
        language_model = build_language_model(config.language)
    processor = ImageProcessor.from_config(config)
    try:
        seeing = _tower_dtype(config, kept, place)
        load_weights(tower, config.vision_folder, tower.published_name, seeing, place)
        load_weights(projector, config.projector_folder, str, kept, place)
        _load_language_model(language_model, config, kept, place)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(_memory_message(config, kept, place)) from error
    return Vila(
        config, tokenizer, template, processor, tower, projector, language_model, place, kept
    )


def locate(model: str | Path, revision: str | None = None) -> Path:
    """The folder of a model; a hub id is fetched, unless a folder of that name exists.

    The name "vila-nano" is the embedded model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if str(model) in EMBEDDED_MODELS:
        return embedded_model_folder(name=str(model))
    if is_hub_id(str(model)):
        return fetch_snapshot(str(model), revision).folder
    raise InvalidCheckpoint(
        f"{model} is neither a folder nor a hub id such as 'owner/name' nor one of "
        f"{', '.join(EMBEDDED_MODELS)}"
    )


def stored_dtype(folder: Path) -> torch.dtype:
    """The floating-point type of most of a part's stored numbers; read from headers."""
    counts: dict[torch.dtype, int] = {}
    for _, name, info in walk(open_weights(folder)):
        if info.dtype.is_floating_point and not name.endswith(SCALES):
            counts[info.dtype] = counts.get(info.dtype, 0) + info.elements
    if not counts:
        raise InvalidCheckpoint(f"{folder} holds no floating-point weights")
    most = max(counts, key=lambda kind: counts[kind])
    return torch.float32 if most == torch.float64 else most


def load_weights(
    module: nn.Module,
    folder: Path,
    name_of: Callable[[str], str],
    dtype: torch.dtype,
    device: torch.device,
    optional: frozenset[str] = frozenset(),
) -> None:
    """Give a module built on the meta device its weights.

    name_of: stored name -> the module's name, "" for a tensor to leave out. optional: names that
    may be missing. Raises InvalidCheckpoint for tensors that are missing, unknown or of another
    shape.
    """
    expected = module.state_dict()
    loaded: dict[str, torch.Tensor] = {}
    files = open_weights(folder)
    for file, stored, info in walk(files):
        name = name_of(stored)
        if not name:
            continue
        if name not in expected:
            raise InvalidCheckpoint(
                f"{file.path}: tensor {stored} is not part of the model that "
                f"{folder / 'config.json'} describes; expected names such as {min(expected)}"
            )
        shape = tuple(expected[name].shape)
        if info.shape != shape:
            raise InvalidCheckpoint(
                f"{file.path}: tensor {stored} has shape {list(info.shape)}, expected "
                f"{list(shape)} by {folder / 'config.json'}"
            )
        if not info.dtype.is_floating_point:
            raise InvalidCheckpoint(
                f"{file.path}: tensor {stored} is {info.dtype}, expected floating-point weights"
            )
        loaded[name] = file.read(stored, dtype).to(device)
    missing = sorted(set(expected) - set(loaded) - optional)
    if missing:
        names = ", ".join(file.path.name for file in files)
        raise InvalidCheckpoint(
            f"{folder}: {len(missing)} of {len(expected)} tensors are missing in {names}, the "
            f"first is {missing[0]}, expected shape {list(expected[missing[0]].shape)}"
        )
    module.load_state_dict(loaded, strict=False, assign=True)
    restore_buffers(module, device)
    module.requires_grad_(False).eval()


def _load_language_model(
    model: nn.Module, config: VilaConfig, dtype: torch.dtype, device: torch.device
) -> None:
    """The language model's weights; an output layer tied to the embeddings is not stored."""
    tied = bool(config.language.raw.get("tie_word_embeddings", False))
    optional = frozenset(["lm_head.weight"] if tied else [])
    quantised = open_int4(config.llm_folder)
    if quantised is not None:
        seal = check_files(config.llm_folder)
        load_int4_weights(model, quantised, dtype, device, tied)
        if seal is None:
            check_finite_answer(model, config.llm_folder)
        else:
            check_golden(model, seal, config.llm_folder)
        return
    load_weights(model, config.llm_folder, language_name, dtype, device, optional)
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight  # type: ignore[union-attr]


def _tower_dtype(config: VilaConfig, dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The vision tower's type: beside an int4 language model that computes in float32, a tower
    stored in 16 bits keeps as many, where this CPU is fast in them; it would be half the memory."""
    if (
        dtype == torch.float32
        and device.type == "cpu"
        and wide_dtype() == torch.bfloat16
        and stored_dtype(config.vision_folder).itemsize == 2
        and open_int4(config.llm_folder) is not None
    ):
        return torch.bfloat16
    return dtype


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidRequest(f"device {name!r} is unknown; use 'cpu' or 'cuda:0'") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidRequest(f"device {name!r} is not supported; use 'cpu' or 'cuda:0'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Unsupported(
            f"device {name!r} was asked for, torch sees {torch.cuda.device_count()} CUDA GPUs; "
            "use 'cpu', or a build of torch for this GPU's driver"
        )
    return device


def _dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    if name not in COMPUTE_DTYPES:
        raise InvalidRequest(f"dtype {name!r} is unknown; use one of {', '.join(COMPUTE_DTYPES)}")
    return COMPUTE_DTYPES[name]


def _memory_message(config: VilaConfig, dtype: torch.dtype, device: torch.device) -> str:
    parts = (config.llm_folder, config.vision_folder, config.projector_folder)
    numbers = sum(info.elements for part in parts for _, _, info in walk(open_weights(part)))
    free, total = torch.cuda.mem_get_info(device)
    return (
        f"the weights take {numbers * dtype.itemsize / 1e9:.1f} GB as {dtype}, but {device} has "
        f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free; use a smaller model or dtype"
    )
