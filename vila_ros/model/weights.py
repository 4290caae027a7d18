# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weight files: what they hold, read without loading, and tensors mapped straight from disk.

Safetensors (format: huggingface/safetensors README) and torch's .bin with tensors alone, single or
in shards. A tensor kept in its stored type is a view of the mapped file: it takes no memory of its
own and is read when used. A converted tensor is read, converted and released one by one.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import read_json

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
MAX_HEADER = 100_000_000  # as in the safetensors library
# A mapped .bin is closed and opened again after so many converted bytes, so that pages already
# read do not stay resident beside their converted copies.
REOPEN_BYTES = 256 << 20

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
SINGLES = ("model.safetensors", "pytorch_model.bin", "mm_projector.bin")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in a file. offset: of its first byte in a safetensors file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def elements(self) -> int:
        """Numbers it holds."""
        return torch.Size(self.shape).numel()

    @property
    def bytes(self) -> int:
        """Bytes it takes."""
        return self.elements * self.dtype.itemsize


class WeightFile(Protocol):
    """One file of tensors."""

    path: Path

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Name -> what is stored under it."""

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """The tensor on the CPU; a view of the mapped file unless dtype differs from its own."""

    def release(self) -> None:
        """Give back the pages read so far; tensors that were handed out stay valid."""


class SafetensorsFile:
    """A .safetensors file; its header is checked against the file's size when it is opened."""

    def __init__(self, path: Path):
        self.path = path
        self.tensors = self._read_header()

    @cached_property
    def _storage(self) -> Any:
        size = self.path.stat().st_size
        return torch.UntypedStorage.from_file(str(self.path), shared=False, nbytes=size)

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See WeightFile."""
        info = self.tensors[name]
        if info.elements == 0:
            return torch.empty(info.shape, dtype=dtype or info.dtype)
        aligned = info.offset % info.dtype.itemsize == 0
        if aligned and dtype in (None, info.dtype):
            flat = torch.empty(0, dtype=info.dtype)
            start = info.offset // info.dtype.itemsize
            flat.set_(self._storage, start, torch.Size((info.elements,)), (1,))
            return flat.view(info.shape)
        with self.path.open("rb") as file:
            file.seek(info.offset)
            data = bytearray(file.read(info.bytes))
        return torch.frombuffer(data, dtype=info.dtype).view(info.shape).to(dtype or info.dtype)

    def release(self) -> None:
        """See WeightFile."""
        self.__dict__.pop("_storage", None)

    def _read_header(self) -> dict[str, TensorInfo]:
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 0 < length <= min(MAX_HEADER, size - 8):
                raise InvalidCheckpoint(
                    f"{self.path} is truncated or no safetensors file: {size} bytes with a header "
                    f"of {length}; download it again"
                )
            try:
                entries = json.loads(file.read(length))
                entries.pop("__metadata__", None)
                base = 8 + length
                tensors = {name: self._entry(name, e, base) for name, e in entries.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidCheckpoint(
                    f"{self.path} has a broken safetensors header: {error!r}"
                ) from error
        for name, info in tensors.items():
            if info.offset + info.bytes > size:
                raise InvalidCheckpoint(
                    f"{self.path} is truncated: tensor {name} ends at byte "
                    f"{info.offset + info.bytes}, the file at {size}; download it again"
                )
        return tensors

    def _entry(self, name: str, entry: Mapping[str, object], base: int) -> TensorInfo:
        kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        if kind not in DTYPES:
            raise InvalidCheckpoint(
                f"{self.path}: tensor {name} has type {kind}; known are {', '.join(DTYPES)}"
            )
        assert isinstance(shape, list)
        assert isinstance(span, list)
        info = TensorInfo(DTYPES[str(kind)], tuple(map(int, shape)), base + int(span[0]))
        if int(span[1]) - int(span[0]) != info.bytes or int(span[0]) < 0:
            raise InvalidCheckpoint(
                f"{self.path}: tensor {name} of {list(info.shape)} {kind} takes {info.bytes} "
                f"bytes, its header says {int(span[1]) - int(span[0])}"
            )
        return info


class BinFile:
    """A torch .bin file; only tensors are ever unpickled."""

    def __init__(self, path: Path):
        self.path = path
        self._state = self._open()
        self._converted = 0
        self.tensors = {
            name: TensorInfo(tensor.dtype, tuple(tensor.shape))
            for name, tensor in self._state.items()
        }

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See WeightFile."""
        if dtype in (None, self.tensors[name].dtype):
            return self._state[name]
        if self._converted >= REOPEN_BYTES:
            self.release()
        self._converted += self.tensors[name].bytes
        return self._state[name].to(dtype)

    def release(self) -> None:
        """See WeightFile."""
        self._state.clear()
        self._state, self._converted = self._open(), 0

    def _open(self) -> dict[str, torch.Tensor]:
        try:
            try:
                state = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap can only be used" not in str(error):
                    raise
                # The format before torch 1.6 cannot be mapped.
                state = torch.load(self.path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InvalidCheckpoint(
                f"{self.path} is broken or holds more than tensors, which is never loaded: "
                f"{str(error).splitlines()[0]}"
            ) from error
        except (RuntimeError, EOFError, ValueError, OSError) as error:
            raise InvalidCheckpoint(
                f"{self.path} is truncated or no torch file; download it again: {error}"
            ) from error
        if not isinstance(state, dict) or not all(
            isinstance(value, torch.Tensor) for value in state.values()
        ):
            raise InvalidCheckpoint(f"{self.path} holds no table of tensors by name")
        return dict(state)


def open_weights(folder: Path) -> list[WeightFile]:
    """The weight files of a part's folder, shards in the index's order.

    Raises InvalidCheckpoint when there are none, a shard is missing, or a shard lacks a tensor
    that the index says it has.
    """
    for name in INDEXES:
        if (folder / name).is_file():
            return _open_shards(folder, folder / name)
    for name in SINGLES:
        if (folder / name).is_file():
            return [_open_file(folder / name)]
    # TinyChat's files are named after the model, e.g. vila1.5-3b-w4-g128-awq-v2.pt.
    named = sorted(folder.glob("*.pt"))
    if len(named) > 1:
        raise InvalidCheckpoint(
            f"{folder} has several weight files: {', '.join(p.name for p in named)}; keep one"
        )
    if named:
        return [_open_file(named[0])]
    raise InvalidCheckpoint(
        f"{folder} has no weights: expected one of {', '.join((*SINGLES[:2], *INDEXES))} "
        "or one .pt file"
    )


def _open_file(path: Path) -> WeightFile:
    return SafetensorsFile(path) if path.suffix == ".safetensors" else BinFile(path)


def _open_shards(folder: Path, index: Path) -> list[WeightFile]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InvalidCheckpoint(f"{index} has no weight_map")
    files = {}
    for shard in dict.fromkeys(map(str, places.values())):
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise InvalidCheckpoint(f"{folder / shard} is missing; {index.name} names it")
        files[shard] = _open_file(folder / shard)
    for name, shard in places.items():
        if name not in files[shard].tensors:
            raise InvalidCheckpoint(
                f"{folder / shard} lacks tensor {name}, which {index.name} places there"
            )
    return list(files.values())


def walk(files: list[WeightFile]) -> Iterator[tuple[WeightFile, str, TensorInfo]]:
    """Every tensor of every file."""
    for file in files:
        for name, info in file.tensors.items():
            yield file, name, info
