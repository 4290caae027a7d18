# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whole VILA folders with an int4 language model, written in any of the formats."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vila_ros.errors import InvalidRequest
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.language_model import build_language_model
from vila_ros.quantization.formats import FORMATS, Format
from vila_ros.quantization.int4_folder import Int4Folder, load_int4_weights, open_int4
from vila_ros.quantization.int4_weight import Int4Weight
from vila_ros.quantization.out_folder import check_free
from vila_ros.quantization.seal import SEAL, write_seal

SHARD_BYTES = 1 << 30
ALIGNMENT = 64
"""Of tensors in the files written here: a cache line, so that mapped weights are read whole."""

NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")

Tensors = Iterator[tuple[str, dict[str, torch.Tensor]]]
"""Pieces of a model as (what it is, tensors by full name), none larger than a layer."""


def format_named(name: str) -> Format:
    """A format of the command line. Raises InvalidRequest."""
    if name not in FORMATS:
        raise InvalidRequest(f"format {name!r} is unknown; known are {', '.join(FORMATS)}")
    return FORMATS[name]


def convert_folder(
    model: Path, out: Path, target: str, progress: Callable[[str], None] = print
) -> Path:
    """Write an int4 VILA folder in another format, exactly or not at all; returns out.

    Raises InvalidRequest where the format cannot hold the weights or out exists.
    """
    wanted = format_named(target)
    config = read_config(model)
    source = open_int4(config.llm_folder)
    if source is None:
        raise InvalidRequest(
            f"{model} is not quantised; vila quantize {model} --format {target} does that"
        )
    check_free(out)
    progress(f"{model} is in format {source.format.name}")
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        write_folder(config, source, part, wanted, {}, progress)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    part.replace(out)
    return out


def write_folder(
    config: VilaConfig,
    source: Int4Folder,
    out: Path,
    target: Format,
    details: Mapping[str, Any],
    progress: Callable[[str], None],
) -> None:
    """Fill out with a whole VILA folder, and seal it. details: JSON values for the seal."""
    llm = out / "llm"
    llm.mkdir(parents=True, exist_ok=True)
    shapes = _linear_shapes(config)
    group, symmetric = 0, True
    for number, layer in enumerate(source.layers):
        weight = source.weight(layer, shapes[layer])
        group = weight.group
        symmetric = symmetric and weight.symmetric
        if number % 32 == 31:
            source.release()
    progress(f"writing the language model in format {target.name}")
    pieces = _pieces(source, target, shapes)
    if target.name == "tinychat":
        _write_torch(llm / f"{config.name}-w4-g{group}-awq-v2.pt", pieces)
    else:
        write_shards(llm, pieces)
    _write_small_files(config, out, target, group, symmetric)
    progress("sealing it with checksums and a known answer")
    again = read_config(out)
    written = open_int4(again.llm_folder)
    assert written is not None
    with torch.device("meta"):
        language_model = build_language_model(again.language)
    tied = bool(again.language.raw.get("tie_word_embeddings", False))
    load_int4_weights(language_model, written, torch.float32, torch.device("cpu"), tied)
    write_seal(out, llm, language_model, {"format": target.name, "group": group, **details})


def write_shards(folder: Path, pieces: Tensors) -> None:
    """Safetensors of about SHARD_BYTES each, with an index where there are several."""
    shards: list[Path] = []
    places: dict[str, int] = {}
    held: dict[str, torch.Tensor] = {}

    def flush() -> None:
        shards.append(folder / f"shard-{len(shards)}.part")
        write_safetensors(shards[-1], held)
        places.update(dict.fromkeys(held, len(shards) - 1))
        held.clear()

    for _, tensors in pieces:
        held.update(tensors)
        if sum(tensor.nbytes for tensor in held.values()) >= SHARD_BYTES:
            flush()
    if held:
        flush()
    names = [f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    names = names if len(shards) > 1 else ["model.safetensors"]
    for part, name in zip(shards, names, strict=True):
        part.replace(folder / name)
    if len(shards) > 1:
        index = {"metadata": {}, "weight_map": {key: names[i] for key, i in places.items()}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """A safetensors file whose tensors begin at multiples of ALIGNMENT where their sizes allow.

    The format (huggingface/safetensors README) knows no gaps: those of odd sizes come last.
    """
    order = sorted(tensors, key=lambda name: (tensors[name].nbytes % ALIGNMENT != 0, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            flat = tensors[name].detach().contiguous().reshape(-1)
            if flat.numel():
                flat.view(torch.uint8).numpy().tofile(file)


def _pieces(
    source: Int4Folder, target: Format, shapes: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    for name, stored in source.others.items():
        yield name, {name: stored.read()}
    for number, layer in enumerate(source.layers):
        weight: Int4Weight = source.weight(layer, shapes[layer])
        tensors = target.write(layer, weight)
        bias = source.layers[layer].get("bias")
        if bias is not None:
            tensors["bias"] = bias.read()
        yield layer, {f"{layer}.{suffix}": tensor for suffix, tensor in tensors.items()}
        if number % 32 == 31:
            source.release()


def _write_torch(path: Path, pieces: Tensors) -> None:
    """One file by torch.save, as TinyChat has it; it is held in memory as a whole."""
    state = {name: tensor.clone() for _, piece in pieces for name, tensor in piece.items()}
    torch.save(state, path)


def _write_small_files(
    config: VilaConfig, out: Path, target: Format, group: int, symmetric: bool
) -> None:
    """Everything but the language model's weights."""
    llm = out / "llm"
    for path in config.llm_folder.iterdir():
        skipped = path.suffix in WEIGHTS or path.name.endswith(".index.json") or path.name == SEAL
        if path.is_file() and not skipped:
            shutil.copyfile(path, llm / path.name)
    raw = {k: v for k, v in config.language.raw.items() if k != "quantization_config"}
    settings = target.settings(group, symmetric)
    if target.name == "modelopt":
        text = json.dumps(settings, indent=2)
        (out / "hf_quant_config.json").write_text(text, encoding="utf-8")
    else:
        raw["quantization_config"] = settings
    (llm / "config.json").write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    for path in config.root.iterdir():
        if path.is_file() and path.suffix not in WEIGHTS and path.name != "hf_quant_config.json":
            shutil.copyfile(path, out / path.name)
    for folder, name in (
        (config.vision_folder, "vision_tower"),
        (config.projector_folder, "mm_projector"),
    ):
        shutil.copytree(folder, out / name, dirs_exist_ok=True)


def _linear_shapes(config: VilaConfig) -> dict[str, tuple[int, int]]:
    """[out, in] of every linear layer by name."""
    with torch.device("meta"):
        model = build_language_model(config.language)
    return {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
