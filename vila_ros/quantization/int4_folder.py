# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A language model's int4 weights in a folder: of which format, and loading them in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.language_model import restore_buffers
from vila_ros.model.weights import TensorInfo, WeightFile, open_weights, walk
from vila_ros.quantization.formats import FORMATS, Format
from vila_ros.quantization.int4_linear import Int4Linear, StoredEmbedding, StoredLinear
from vila_ros.quantization.int4_weight import Int4Weight

# Tensors of quantised layers, of all formats known here and of those that are not.
MARKS = frozenset({suffix for known in FORMATS.values() for suffix in known.marks}) - {"weight"}
FOREIGN = {
    "g_idx": "GPTQ",
    "absmax": "bitsandbytes",
    "weight_scale_inv": "FP8",
}
RELEASE_BYTES = 256 << 20
"""Converted between two times that the mapped pages of the source are given back."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: its file and its name there."""

    file: WeightFile
    name: str

    @property
    def info(self) -> TensorInfo:
        """What is stored."""
        return self.file.tensors[self.name]

    def read(self) -> torch.Tensor:
        """The tensor in its stored type."""
        return self.file.read(self.name)


@dataclass(frozen=True, eq=False)
class Int4Folder:
    """The tensors of an int4 language model. layers: quantised layer -> its tensors by suffix;
    others: all other tensors by name."""

    folder: Path
    files: tuple[WeightFile, ...]
    format: Format
    layers: Mapping[str, Mapping[str, StoredTensor]]
    others: Mapping[str, StoredTensor]

    def weight(self, layer: str, shape: tuple[int, int]) -> Int4Weight:
        """A layer's weight [out, in]. Raises InvalidCheckpoint."""
        tensors = {suffix: stored.read() for suffix, stored in self.layers[layer].items()}
        try:
            weight = self.format.read(layer, tensors, shape)
        except InvalidCheckpoint as error:
            raise InvalidCheckpoint(f"{self.folder}: {error.message}") from None
        if not bool(torch.isfinite(weight.scales).all()):
            raise InvalidCheckpoint(
                f"{self.folder}: {layer} has scales that are NaN or infinite; the checkpoint is "
                "damaged, download or quantise it again"
            )
        return weight

    def release(self) -> None:
        """Give back the mapped pages that were read."""
        for file in self.files:
            file.release()


def open_int4(folder: Path) -> Int4Folder | None:
    """The int4 tensors of a language model's folder; None for one in floating point.

    Reads headers alone. Raises InvalidCheckpoint for a format that is not known, and for several
    in one folder.
    """
    return int4_of(folder, open_weights(folder))


def int4_of(folder: Path, files: Sequence[WeightFile]) -> Int4Folder | None:
    """As open_int4, of files that are open already; folder: for messages."""
    layers: dict[str, dict[str, StoredTensor]] = {}
    for file, stored, _ in walk(list(files)):
        name = stored.removeprefix("llm.")
        layer, _, suffix = name.rpartition(".")
        layers.setdefault(layer, {})[suffix] = StoredTensor(file, stored)
    found: dict[str, str] = {}
    for layer, tensors in layers.items():
        known = _format_of(folder, layer, tensors)
        if known:
            found[layer] = known
    if not found:
        return None
    if len(set(found.values())) > 1:
        examples = {name: layer for layer, name in found.items()}
        listed = ", ".join(f"{layer} is {name}" for name, layer in sorted(examples.items()))
        raise InvalidCheckpoint(
            f"{folder} mixes int4 formats ({listed}); a checkpoint has one, download it again or "
            "take one source's files alone"
        )
    others = {
        f"{layer}.{suffix}": stored
        for layer, tensors in layers.items()
        if layer not in found
        for suffix, stored in tensors.items()
    }
    quantised = {layer: layers[layer] for layer in found}
    return Int4Folder(folder, tuple(files), FORMATS[next(iter(found.values()))], quantised, others)


def load_int4_weights(
    model: nn.Module, source: Int4Folder, dtype: torch.dtype, device: torch.device, tied: bool
) -> None:
    """Give a language model built on the meta device its weights, its linears replaced in place.

    tied: the output layer is the embeddings' table. Embeddings and output layer keep their stored
    16 bits; the rest is of `dtype`. Raises InvalidCheckpoint.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    unknown = sorted(set(source.layers) - set(linears))
    if unknown:
        raise InvalidCheckpoint(
            f"{source.folder}: quantised layer {unknown[0]} is not part of the model that "
            f"{source.folder / 'config.json'} describes"
        )
    loaded = {name: tensor.to(device) for name, tensor in _floats(source, linears, expected, dtype)}
    converted = 0
    for name in source.layers:
        shape = (linears[name].out_features, linears[name].in_features)
        bias = loaded.pop(f"{name}.bias", None)
        layer = Int4Linear(source.weight(name, shape), bias)
        if device.type == "cuda":
            layer.to_cuda(device)
        model.set_submodule(name, layer)
        converted += layer.weight.nbytes
        if converted >= RELEASE_BYTES:
            source.release()
            converted = 0
    source.release()
    table = loaded.pop("model.embed_tokens.weight")
    head = table if tied else loaded.pop("lm_head.weight")
    model.load_state_dict(loaded, strict=False, assign=True)
    model.set_submodule("model.embed_tokens", StoredEmbedding(table, dtype))
    model.set_submodule("lm_head", StoredLinear(head))
    restore_buffers(model, device)
    model.requires_grad_(False).eval()


def _floats(
    source: Int4Folder,
    linears: Mapping[str, nn.Linear],
    expected: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors that are not int4, checked against the model."""
    wanted = {n for n in expected if n.removesuffix(".weight") not in source.layers}
    stored = dict(source.others)
    for name, tensors in source.layers.items():
        if "bias" in tensors and linears[name].bias is not None:
            stored[f"{name}.bias"] = tensors["bias"]
    stored = {n: t for n, t in stored.items() if not n.endswith("rotary_emb.inv_freq")}
    optional = {"lm_head.weight"}
    missing = sorted(wanted - set(stored) - optional)
    if missing:
        raise InvalidCheckpoint(
            f"{source.folder}: {len(missing)} tensors are missing, the first is {missing[0]}, "
            f"expected shape {list(expected[missing[0]])}"
        )
    for name, tensor in stored.items():
        if name not in expected:
            raise InvalidCheckpoint(
                f"{tensor.file.path}: tensor {tensor.name} is not part of the model that "
                f"{source.folder / 'config.json'} describes"
            )
        if tensor.info.shape != expected[name]:
            raise InvalidCheckpoint(
                f"{tensor.file.path}: tensor {tensor.name} has shape {list(tensor.info.shape)}, "
                f"expected {list(expected[name])}"
            )
        kept = name in ("model.embed_tokens.weight", "lm_head.weight")
        yield name, tensor.read() if kept else tensor.read().to(dtype)


def _format_of(folder: Path, layer: str, tensors: Mapping[str, StoredTensor]) -> str:
    """The name of a layer's format; "" for one in floating point. Raises InvalidCheckpoint."""
    kinds = {suffix: stored.info.dtype for suffix, stored in tensors.items()}
    foreign = [FOREIGN[suffix] for suffix in kinds if suffix in FOREIGN]
    marked = bool(MARKS & set(kinds))
    if not foreign and not marked:
        return ""
    if not foreign:
        for name, known in FORMATS.items():
            if all(kinds.get(suffix) == kind for suffix, kind in known.marks.items()):
                return name
    listed = ", ".join(f"{suffix} ({kind})" for suffix, kind in sorted(kinds.items()))
    raise InvalidCheckpoint(
        f"{folder}: {layer} is quantised in a way that is not supported"
        f"{f' ({foreign[0]})' if foreign else ''}: it has {listed}; known are {', '.join(FORMATS)}"
        ", the files may also be incomplete"
    )
