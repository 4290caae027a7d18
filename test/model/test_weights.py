# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Weight files, whole, in shards, and damaged in every way that downloads are."""

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model import weights
from vila_ros.model.weights import open_weights

TENSORS = {
    "a": torch.randn(4, 3),
    "b": torch.randn(5).to(torch.float16),
    "c": torch.randn(2, 2).to(torch.bfloat16),
    "empty": torch.zeros(0, 3),
}


def save(folder: Path, kind: str, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    tensors = TENSORS if tensors is None else tensors
    if kind == "safetensors":
        save_file(tensors, folder / "model.safetensors")
        return folder / "model.safetensors"
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def save_shards(folder: Path, kind: str) -> dict[str, str]:
    """One tensor a shard, and the index."""
    stem, index = ("model", weights.INDEXES[0])
    if kind == "bin":
        stem, index = "pytorch_model", weights.INDEXES[1]
    places = {}
    for number, (name, tensor) in enumerate(TENSORS.items()):
        shard = f"{stem}-{number}-of-4.{kind}"
        save(folder, kind, {name: tensor}).rename(folder / shard)
        places[name] = shard
    (folder / index).write_text(json.dumps({"weight_map": places}))
    return places


def read_all(folder: Path) -> dict[str, torch.Tensor]:
    return {name: file.read(name) for file in open_weights(folder) for name in file.tensors}


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_tensors_come_back_as_stored(tmp_path: Path, kind: str):
    save(tmp_path, kind)
    for name, tensor in read_all(tmp_path).items():
        assert tensor.dtype == TENSORS[name].dtype
        assert torch.equal(tensor, TENSORS[name])


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_shards(tmp_path: Path, kind: str):
    save_shards(tmp_path, kind)
    assert set(read_all(tmp_path)) == set(TENSORS)


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_converted_tensors(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weights, "REOPEN_BYTES", 1)  # so that the file is opened for each anew
    save(tmp_path, kind)
    (file,) = open_weights(tmp_path)
    for name, tensor in TENSORS.items():
        assert torch.equal(file.read(name, torch.float64), tensor.to(torch.float64))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_stored_types_are_mapped_not_read(tmp_path: Path, kind: str):
    path = save(tmp_path, kind)
    (file,) = open_weights(tmp_path)
    tensor = file.read("a")
    maps = Path("/proc/self/maps").read_text()
    spans = [line.split()[0].split("-") for line in maps.splitlines() if str(path) in line]
    address = tensor.data_ptr()
    assert any(int(start, 16) <= address < int(end, 16) for start, end in spans)


def test_a_bin_of_before_torch_1_6(tmp_path: Path):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": TENSORS["a"]}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(read_all(tmp_path)["a"], TENSORS["a"])


def test_an_unaligned_tensor_is_read_all_the_same(tmp_path: Path):
    header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'  # 54 bytes
    data = struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.5, -2.0)
    (tmp_path / "model.safetensors").write_bytes(data)
    assert read_all(tmp_path)["a"].tolist() == [1.5, -2.0]


@pytest.mark.parametrize("kept", [0, 4, 20, 200, -1])
def test_a_truncated_safetensors_file(tmp_path: Path, kept: int):
    path = save(tmp_path, "safetensors")
    data = path.read_bytes()
    path.write_bytes(data[:kept] if kept >= 0 else data[:-1])
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors is truncated"):
        open_weights(tmp_path)


def test_a_truncated_file_names_the_tensor_that_is_cut(tmp_path: Path):
    path = save(tmp_path, "safetensors", {"a": TENSORS["a"]})
    size = path.stat().st_size
    os.truncate(path, size - 1)
    says = f"tensor a ends at byte {size}, the file at {size - 1}"
    with pytest.raises(InvalidCheckpoint, match=says):
        open_weights(tmp_path)


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_truncated_bin_file(tmp_path: Path, kept: float):
    path = save(tmp_path, "bin")
    size = path.stat().st_size
    os.truncate(path, int(kept if kept >= 1 else kept * size))
    with pytest.raises(InvalidCheckpoint, match=r"pytorch_model\.bin is"):
        open_weights(tmp_path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"{]", "broken safetensors header"),
        (b"[1]", "broken safetensors header"),
        (b'{"a": 3}', "broken safetensors header"),
        (b'{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}', "has type F8_E4M3"),
        (b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}', "takes 12 bytes"),
    ],
)
def test_a_broken_header(tmp_path: Path, header: bytes, says: str):
    data = struct.pack("<Q", len(header)) + header + bytes(8)
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(InvalidCheckpoint, match=says):
        open_weights(tmp_path)


class Mischief:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_bin_file_is_not_run(tmp_path: Path, zipped: bool):
    made = tmp_path / "made"
    torch.save(
        {"a": Mischief(made)},
        tmp_path / "pytorch_model.bin",
        pickle_module=pickle,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(InvalidCheckpoint, match="more than tensors, which is never loaded"):
        open_weights(tmp_path)
    assert not made.exists()


def test_a_bin_file_of_something_else(tmp_path: Path):
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidCheckpoint, match="no table of tensors"):
        open_weights(tmp_path)


def test_no_weights(tmp_path: Path):
    with pytest.raises(InvalidCheckpoint, match=r"no weights: expected one of model\.safetensors"):
        open_weights(tmp_path)


def test_a_missing_shard(tmp_path: Path):
    places = save_shards(tmp_path, "safetensors")
    (tmp_path / places["b"]).unlink()
    with pytest.raises(InvalidCheckpoint, match=f"{places['b']} is missing"):
        open_weights(tmp_path)


def test_a_shard_without_its_tensor(tmp_path: Path):
    places = save_shards(tmp_path, "safetensors")
    places["a"] = places["b"]
    (tmp_path / weights.INDEXES[0]).write_text(json.dumps({"weight_map": places}))
    with pytest.raises(InvalidCheckpoint, match=f"{places['b']} lacks tensor a"):
        open_weights(tmp_path)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd"])
def test_an_index_cannot_point_outside(tmp_path: Path, name: str):
    (tmp_path / weights.INDEXES[0]).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(InvalidCheckpoint, match="is missing"):
        open_weights(tmp_path)
