# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Loading: every published form gives the same model, and damage is named."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from test.model.conftest import NVILA, VILA15, edit_json, make_variant, picture
from vila_ros.errors import InvalidCheckpoint, InvalidRequest, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.model.vila import Vila

PARTS = ("llm", "vision_tower", "mm_projector")
IMAGE = picture(50, 60)


def answer(vila: Vila) -> torch.Tensor:
    """Something every part has a share in."""
    rows = vila.encode_images([IMAGE])[0]
    with torch.no_grad():
        return vila.language_model(inputs_embeds=rows[None]).logits.float()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_variant(VILA15, tmp_path / "v", conversation="vicuna_v1")


def rewrite(folder: Path, part: str, change) -> None:
    path = folder / part / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_bin_files_load_alike(folder: Path, vila15: Vila):
    for part in PARTS:
        path = folder / part / "model.safetensors"
        torch.save(load_file(path), folder / part / "pytorch_model.bin")
        path.unlink()
    assert torch.equal(answer(load_vila(folder)), answer(vila15))


def test_shards_load_alike(folder: Path, vila15: Vila):
    tensors = load_file(folder / "llm" / "model.safetensors")
    names = sorted(tensors)
    places = {}
    for number, chosen in enumerate((names[::2], names[1::2])):
        shard = f"model-0000{number + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in chosen}, folder / "llm" / shard)
        places.update(dict.fromkeys(chosen, shard))
    (folder / "llm" / "model.safetensors").unlink()
    index = folder / "llm" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert torch.equal(answer(load_vila(folder)), answer(vila15))


def test_names_without_the_towers_prefix_load_alike(folder: Path, vila15: Vila):
    path = folder / "vision_tower" / "model.safetensors"
    tensors = {n.removeprefix("vision_model."): t for n, t in load_file(path).items()}
    save_file(tensors, path)
    assert torch.equal(answer(load_vila(folder)), answer(vila15))


def test_buffers_that_old_files_hold_are_left_out(folder: Path, vila15: Vila):
    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(8)

    rewrite(folder, "llm", add)
    assert torch.equal(answer(load_vila(folder)), answer(vila15))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_another_dtype(folder: Path, vila15: Vila, dtype: str):
    vila = load_vila(folder, dtype=dtype)
    assert {p.dtype for p in vila.language_model.parameters()} == {getattr(torch, dtype)}
    assert vila.encode_images([IMAGE])[0].dtype == getattr(torch, dtype)
    torch.testing.assert_close(answer(vila), answer(vila15), atol=0.2, rtol=0.2)


def test_the_stored_dtype_is_kept(tmp_path: Path):
    folder = write_random_checkpoint(tmp_path / "r", dtype="bfloat16")
    assert load_vila(folder).dtype == torch.bfloat16


def test_a_tied_output_layer(folder: Path):
    edit_json(folder / "llm" / "config.json", tie_word_embeddings=True)
    rewrite(folder, "llm", lambda tensors: tensors.pop("lm_head.weight"))
    model = load_vila(folder).language_model
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_positions_are_those_of_the_configuration(folder: Path, vila15: Vila):
    edit_json(folder / "llm" / "config.json", rope_theta=500.0)
    slow, fast = (v.language_model.model.rotary_emb.inv_freq for v in (load_vila(folder), vila15))
    size = 16
    expected = [1 / base ** (i / size) for base in (500.0, 10_000.0) for i in range(0, size, 2)]
    torch.testing.assert_close(torch.cat([slow, fast]), torch.tensor(expected))


def test_scaled_positions(folder: Path):
    edit_json(folder / "llm" / "config.json", rope_scaling={"type": "linear", "factor": 2.0})
    frequencies = load_vila(folder).language_model.model.rotary_emb.inv_freq
    expected = [1 / 10_000 ** (i / 16) / 2 for i in range(0, 16, 2)]
    torch.testing.assert_close(frequencies, torch.tensor(expected))


def test_nothing_is_left_without_memory(vila15: Vila, nvila: Vila):
    for vila in (vila15, nvila):
        for module in (vila.vision_tower, vila.projector, vila.language_model):
            tensors = [*module.parameters(), *module.buffers()]
            assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)


def test_code_that_a_checkpoint_names_is_not_run(folder: Path):
    for part in (".", *PARTS):
        (folder / part / "evil.py").write_text("raise SystemExit('ran')")
        edit_json(
            folder / part / "config.json",
            auto_map={"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"},
        )
    load_vila(folder)


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_tensor_is_named(folder: Path, part: str):
    gone: list[str] = []

    def remove(tensors: dict[str, torch.Tensor]) -> None:
        name = next(n for n in sorted(tensors) if "layers.1" in n or "embed_tokens" in n)
        gone.append(name.split(".")[-1])
        tensors.pop(name)

    rewrite(folder, part, remove)
    says = rf"{part}: 1 of \d+ tensors are missing in model\.safetensors, the first is \S*{gone[0]}"
    with pytest.raises(InvalidCheckpoint, match=says):
        load_vila(folder)


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_of_another_shape_is_named(folder: Path, part: str):
    def grow(tensors: dict[str, torch.Tensor]) -> None:
        name = next(n for n in sorted(tensors) if "layers.1" in n or "layers.0" in n)
        tensors[name] = torch.zeros(7)

    rewrite(folder, part, grow)
    says = rf"{part}/model\.safetensors: tensor \S*layers\.[01]\S* has shape \[7\], expected \["
    with pytest.raises(InvalidCheckpoint, match=says):
        load_vila(folder)


def test_a_configuration_with_fewer_layers_than_the_weights(folder: Path):
    edit_json(folder / "llm" / "config.json", num_hidden_layers=1)
    with pytest.raises(InvalidCheckpoint, match=r"tensor model\.layers\.1\S* is not part of"):
        load_vila(folder)


def test_weights_that_are_no_numbers(folder: Path):
    def pack(tensors: dict[str, torch.Tensor]) -> None:
        tensors["lm_head.weight"] = torch.zeros(512, 64, dtype=torch.int8)

    rewrite(folder, "llm", pack)
    with pytest.raises(InvalidCheckpoint, match=r"lm_head\.weight is torch\.int8, expected float"):
        load_vila(folder)


@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_missing(folder: Path, part: str):
    (folder / part / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpoint, match=f"{part} has no weights"):
        load_vila(folder)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"device": "gpu"}, InvalidRequest, "'gpu' is unknown; use 'cpu'"),
        ({"device": "mps"}, InvalidRequest, "'mps' is not supported"),
        ({"device": "cuda:99"}, Unsupported, "torch sees [0-9]+ CUDA GPUs"),
        ({"dtype": "int4"}, InvalidRequest, "'int4' is unknown; use one of float32"),
        ({"token_order": "diagonal"}, InvalidRequest, "'diagonal' is unknown"),
        ({"conversation": "alpaca"}, InvalidRequest, "'alpaca' is unknown"),
    ],
)
def test_arguments_out_of_range(tiny: Path, arguments: dict, error: type, says: str):
    with pytest.raises(error, match=says):
        load_vila(tiny, **arguments)


@pytest.mark.parametrize("name", ["/no/such/folder", "no such model"])
def test_neither_a_folder_nor_a_hub_id(name: str):
    with pytest.raises(InvalidCheckpoint, match="is neither a folder nor a hub id"):
        load_vila(name)


def test_the_token_order_reaches_the_projector():
    for order in ("row", "column"):
        vila = load_vila(VILA15 / "checkpoint", token_order=order, conversation="vicuna_v1")
        assert vila.projector.layers[0].order == order


# 75 M numbers: large enough that the process itself is small beside them.
MEDIUM = Shape(1024, 6, 8, 8, 2816, 2048, 2048, 256, 3, 4, 512, 56)
MEASURE = """
import ctypes, gc, json, sys
import torch
from vila_ros.model.checkpoint import load_vila

torch.set_num_threads(1)

def resident(key):
    for line in open("/proc/self/status"):
        if line.startswith(key):
            return int(line.split()[1]) * 1024

def read_every_weight(vila):
    for part in (vila.language_model, vila.vision_tower, vila.projector):
        for parameter in part.parameters():
            assert not parameter.view(-1)[::1024].sum().isnan()  # a number of every page

def measure(folder, dtype):
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")  # VmHWM counts from here on
    vila = load_vila(folder, dtype=dtype)
    read_every_weight(vila)
    return resident("VmHWM") - before

tiny, *cases = json.loads(sys.argv[1])
read_every_weight(load_vila(tiny))  # so that libraries are loaded before anything is measured
print(json.dumps([measure(*case) for case in cases]))
"""


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("medium") / "m", MEDIUM, dtype="float16")


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if "model" in path.name)


def test_loading_takes_little_more_than_the_weights(medium: Path, tiny: Path, tmp_path: Path):
    binary = Path(shutil.copytree(medium, tmp_path / "bin"))
    stored = binary / "llm" / "model.safetensors"
    torch.save(load_file(stored), binary / "llm" / "pytorch_model.bin")
    stored.unlink()
    files = sorted(path for folder in (medium, binary) for path in folder.rglob("*"))
    cases = [(medium, None), (medium, "bfloat16"), (binary, None)]
    arguments = json.dumps([str(tiny), *([str(folder), dtype] for folder, dtype in cases)])
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert run.returncode == 0, run.stderr
    for (folder, dtype), taken in zip(cases, json.loads(run.stdout), strict=True):
        assert taken <= 1.2 * weight_bytes(folder), (folder.name, dtype, taken)
    # Nothing was written beside the weights.
    assert sorted(path for folder in (medium, binary) for path in folder.rglob("*")) == files


def test_the_memory_measured_is_that_of_all_weights(medium: Path):
    assert weight_bytes(medium) > 140e6


def test_hub_ids_and_folders_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(NVILA / "checkpoint", tmp_path / "owner" / "model")
    assert load_vila("owner/model").config.name == "model"
    assert re.fullmatch(r"\w+", load_vila("owner/model").config.name)
