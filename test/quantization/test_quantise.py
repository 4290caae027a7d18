# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A float checkpoint to int4, into every format, and what must not load."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from test.quantization.conftest import SMALL
from vila_ros.engine.interface import EngineSpec, GenerationRequest, ImagePart, Message, TextPart
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model import checkpoint
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.generation import Generator
from vila_ros.model.info import describe_model
from vila_ros.model.int4_decoder import Int4Decoder
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization import native, quantise
from vila_ros.quantization.int4_linear import Int4Linear
from vila_ros.quantization.int4_writer import convert_folder, write_safetensors
from vila_ros.quantization.quantise import QuantiseOptions, quantise_folder
from vila_ros.quantization.samples import Conversation, drawn_conversations, split_samples
from vila_ros.quantization.seal import SEAL

IDS = torch.arange(3, 40)[None]
TWO = Shape(128, 2, 4, 2, 256, 512, 2048, 32, 3, 4, 64, 56)


def quiet(_: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def drawings():
    return split_samples(drawn_conversations(10), "drawings")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_random_checkpoint(
        tmp_path_factory.mktemp("float") / "model", TWO, dtype="bfloat16"
    )


@pytest.fixture(scope="module")
def symmetric(source, drawings, tmp_path_factory) -> Path:
    """Of the one kind of rounding that every format holds."""
    out = tmp_path_factory.mktemp("int4") / "symmetric"
    quantise_folder(source, out, drawings, QuantiseOptions(format="modelopt"), quiet)
    return out


@pytest.fixture(scope="module")
def packed(source, drawings, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("int4") / "packed"
    quantise_folder(source, out, drawings, progress=quiet)
    return out


@pytest.fixture
def copied(packed, tmp_path) -> Path:
    shutil.copytree(packed, tmp_path / "copy")
    return tmp_path / "copy"


@torch.inference_mode()
def logits(folder: Path, dtype: str = "float32") -> torch.Tensor:
    return load_vila(folder, dtype=dtype).language_model(input_ids=IDS).logits


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_language_model_is_int4_and_the_rest_is_what_it_was(source, packed):
    vila, before = load_vila(packed), load_vila(source)

    layer = vila.language_model.model.layers[0]
    assert isinstance(layer.mlp.down_proj, Int4Linear)
    assert vila.dtype == torch.bfloat16
    for part in ("vision_tower", "projector"):
        mine, theirs = getattr(vila, part).state_dict(), getattr(before, part).state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    head = vila.language_model.lm_head.weight
    assert torch.equal(head, before.language_model.lm_head.weight)


@pytest.mark.parametrize("wide", [torch.bfloat16, torch.float32])
def test_the_tower_keeps_its_16_bits_where_the_cpu_is_fast_in_them(packed, monkeypatch, wide):
    monkeypatch.setattr(checkpoint, "wide_dtype", lambda: wide)
    vila = load_vila(packed, dtype="float32")

    assert next(vila.vision_tower.parameters()).dtype == wide
    (rows,) = vila.encode_images([np.zeros((40, 60, 3), np.uint8)])
    assert rows.dtype == torch.float32


def test_its_logits_stay_near_those_of_the_float_model(source, packed):
    expected = logits(source)

    off = (logits(packed) - expected).norm() / expected.norm()

    assert off < 0.3
    assert (logits(packed, "bfloat16") - expected).norm() / expected.norm() < 0.3


def test_packed_weights_stay_in_the_mapped_file(packed):
    layer = load_vila(packed).language_model.model.layers[0].mlp.down_proj

    assert layer.packed.untyped_storage().nbytes() > layer.packed.nbytes
    assert layer.packed.data_ptr() % 64 == 0


def test_the_report_compares_with_before_and_with_rounding_to_nearest(packed):
    report = json.loads(packed.with_name("packed.report.json").read_text())

    assert set(report["quality"]) == {"float", "awq", "round-to-nearest"}
    assert report["quality"]["float"]["token_agreement"] == 1.0
    assert (
        report["quality"]["awq"]["logits_error"]
        < report["quality"]["round-to-nearest"]["logits_error"]
    )
    assert len(report["layers"]) == 14
    assert all(0 < layer["awq"] < 0.5 for layer in report["layers"])
    text = packed.with_name("packed.report.md").read_text()
    assert "| int4, AWQ |" in text
    assert "model.layers.1.mlp.down_proj" in text


@pytest.mark.parametrize("name", ["compressed-tensors", "gemm", "tinychat", "modelopt"])
def test_every_format_reloads_with_equal_logits(symmetric, tmp_path, name):
    out = symmetric
    if name != "modelopt":
        out = convert_folder(symmetric, tmp_path / name, name, quiet)
        assert f"int4 ({name}, sealed)" in describe_model(out).stored_dtype

    assert torch.equal(logits(out), logits(symmetric))


def test_conversion_is_exact_there_and_back_or_refused(packed, tmp_path):
    there = convert_folder(packed, tmp_path / "gemm", "gemm", quiet)
    again = convert_folder(there, tmp_path / "again", "compressed-tensors", quiet)

    name = "llm/model.safetensors"
    assert (again / name).read_bytes() == (packed / name).read_bytes()
    with pytest.raises(InvalidRequest, match="zero points"):
        convert_folder(packed, tmp_path / "modelopt", "modelopt", quiet)
    assert not list(tmp_path.glob("modelopt*"))


def test_a_float_model_is_not_converted_and_an_int4_one_not_quantised(
    source, packed, drawings, tmp_path
):
    with pytest.raises(InvalidRequest, match="not quantised; vila quantize"):
        convert_folder(source, tmp_path / "x", "gemm", quiet)
    with pytest.raises(InvalidRequest, match="int4 already"):
        quantise_folder(packed, tmp_path / "x", drawings, progress=quiet)
    with pytest.raises(InvalidRequest, match="exists already"):
        convert_folder(packed, source, "gemm", quiet)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    source, packed, drawings, tmp_path, monkeypatch
):
    out = tmp_path / "packed"
    search, searched = quantise.search_block, []

    def once(block, inputs, rounding):
        if searched:
            raise KeyboardInterrupt
        searched.append(block)
        return search(block, inputs, rounding)

    monkeypatch.setattr(quantise, "search_block", once)
    with pytest.raises(KeyboardInterrupt):
        quantise_folder(source, out, drawings, progress=quiet)
    assert not out.exists()

    monkeypatch.setattr(quantise, "search_block", search)
    told: list[str] = []
    quantise_folder(source, out, drawings, progress=told.append)

    assert "going on after 1 finished blocks" in told
    assert bytes_below(out) == bytes_below(packed)
    report = "packed.report.json"
    assert (tmp_path / report).read_text() == packed.with_name(report).read_text()
    assert not list(tmp_path.glob("*.part"))


def test_another_run_s_blocks_are_not_taken(source, drawings, tmp_path):
    stale = tmp_path / "out.part" / "work"
    stale.mkdir(parents=True)
    (stale / "run.json").write_text('{"key": "another"}')
    (stale / "block-000.safetensors").write_bytes(b"of another model")

    quantise_folder(source, tmp_path / "out", drawings, progress=quiet)


def test_tied_embeddings_stay_tied(drawings, tmp_path):
    folder = write_random_checkpoint(tmp_path / "tied", SMALL)
    config = json.loads((folder / "llm" / "config.json").read_text())
    config["tie_word_embeddings"] = True
    (folder / "llm" / "config.json").write_text(json.dumps(config))
    stored = SafetensorsFile(folder / "llm" / "model.safetensors")
    kept = {name: stored.read(name).clone() for name in stored.tensors if name != "lm_head.weight"}
    write_safetensors(folder / "llm" / "model.safetensors", kept)

    quantise_folder(folder, tmp_path / "out", drawings, progress=quiet)

    model = load_vila(tmp_path / "out").language_model
    assert torch.equal(model.lm_head.weight, model.model.embed_tokens.weight)


# Bad input


@pytest.mark.parametrize("where", ["llm/model.safetensors"])
def test_a_truncated_file_is_refused(copied, where):
    path = copied / where
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InvalidCheckpoint, match="truncated"):
        load_vila(copied)


def test_a_changed_byte_is_found_by_the_checksum(copied):
    path = copied / "llm" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(InvalidCheckpoint, match="checksum differs"):
        load_vila(copied)


def test_a_model_that_answers_otherwise_is_refused(copied):
    """As if this machine computed wrongly: the seal's answer is another."""
    path = copied / "llm" / SEAL
    seal = json.loads(path.read_text())
    seal["golden"]["logits"] = [-value for value in seal["golden"]["logits"]]
    path.write_text(json.dumps(seal))

    with pytest.raises(InvalidCheckpoint, match="answers its sealed prompt differently"):
        load_vila(copied)


def test_an_unsealed_folder_is_loaded_with_a_warning(copied, packed, caplog):
    (copied / "llm" / SEAL).unlink()

    assert torch.equal(logits(copied), logits(packed))
    assert "without a checksum" in caplog.text
    assert "not sealed" in describe_model(copied).stored_dtype


def rewrite(folder: Path, change) -> None:
    """Change the language model's tensors, unsealed."""
    (folder / "llm" / SEAL).unlink(missing_ok=True)
    path = folder / "llm" / "model.safetensors"
    file = SafetensorsFile(path)
    tensors = {name: file.read(name).clone() for name in file.tensors}
    change(tensors)
    write_safetensors(path, tensors)


LAYER = "model.layers.0.mlp.up_proj"


def mix(tensors):
    rows, columns = 256, 128
    for name in list(tensors):
        if name.startswith(LAYER):
            del tensors[name]
    tensors[f"{LAYER}.qweight"] = torch.zeros(columns, rows // 8, dtype=torch.int32)
    tensors[f"{LAYER}.qzeros"] = torch.zeros(1, rows // 8, dtype=torch.int32)
    tensors[f"{LAYER}.scales"] = torch.ones(1, rows).half()


def lose(suffix):
    return lambda tensors: tensors.pop(f"{LAYER}.{suffix}")


def spoil_scale(tensors):
    tensors[f"{LAYER}.weight_scale"][0, 0] = float("inf")


def gptq(tensors):
    tensors[f"{LAYER}.g_idx"] = torch.zeros(128, dtype=torch.int32)


def narrow(tensors):
    tensors[f"{LAYER}.weight_packed"] = tensors[f"{LAYER}.weight_packed"][:, :8].contiguous()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (mix, "mixes int4 formats"),
        (lose("weight_packed"), "not supported|missing"),
        (lose("weight_scale"), "weight_scale is missing"),
        (spoil_scale, "NaN or infinite"),
        (gptq, "GPTQ"),
        (narrow, "weight_packed has shape"),
        (lambda tensors: tensors.pop("model.norm.weight"), r"the first is model\.norm\.weight"),
    ],
    ids=["mixed", "no weight", "no scale", "inf scale", "gptq", "narrow", "no norm"],
)
def test_files_that_do_not_fit_are_refused(copied, change, says):
    rewrite(copied, change)

    with pytest.raises(InvalidCheckpoint, match=says):
        load_vila(copied)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_damaged_float_checkpoint_is_refused_before_anything_is_searched(
    source, drawings, tmp_path, value
):
    folder = tmp_path / "damaged"
    shutil.copytree(source, folder)
    path = folder / "llm" / "model.safetensors"
    header = struct.unpack("<Q", path.read_bytes()[:8])[0]
    file = SafetensorsFile(path)
    tensors = {name: file.read(name).clone() for name in file.tensors}
    assert header
    tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    write_safetensors(path, tensors)

    with pytest.raises(InvalidCheckpoint, match=r"layers\.1\.mlp\.up_proj\.weight holds 1 values"):
        quantise_folder(folder, tmp_path / "out", drawings, progress=quiet)
    assert not list(tmp_path.glob("out*"))


def test_groups_that_do_not_divide_are_refused(drawings, tmp_path):
    tiny = write_random_checkpoint(tmp_path / "tiny")

    with pytest.raises(InvalidRequest, match="groups of 128 do not divide the 64 inputs"):
        quantise_folder(tiny, tmp_path / "out", drawings, progress=quiet)


def test_calibration_that_is_too_little_is_refused(source, tmp_path):
    with pytest.raises(InvalidRequest, match="gives 2 calibration samples; at least 5"):
        split_samples(drawn_conversations(2), "x")
    asked = Conversation((Message("user", (TextPart("Go?"),)),))
    few = split_samples([asked] * 5, "five short ones")
    with pytest.raises(InvalidRequest, match=r"five short ones gives \d+ tokens"):
        quantise_folder(source, tmp_path / "out", few, progress=quiet)


# Serving


def request(name: str, text: str, pixels=None) -> GenerationRequest:
    parts = () if pixels is None else (ImagePart(pixels),)
    return GenerationRequest(name, (Message("user", (*parts, TextPart(text))),), max_tokens=8)


@pytest.mark.skipif(native.library() is None, reason="the int4 kernels are not built")
def test_questions_side_by_side_get_the_answers_they_get_alone(packed):
    vila = load_vila(packed, dtype="float32")
    generator = Generator(vila, max_concurrency=3)
    try:
        assert isinstance(generator._decoder, Int4Decoder)
        asked = [request(f"r{i}", f"What is {i} and {i}?") for i in range(3)]
        alone = ["".join(c.text for c in generator.submit(one)) for one in asked]
        streams = [generator.submit(one) for one in asked]
        together = ["".join(chunk.text for chunk in stream) for stream in streams]
    finally:
        generator.close()

    assert together == alone


def test_the_worker_process_serves_it(packed):
    engine = SupervisedEngine(EngineSpec("torch", str(packed), {"device": "cpu", "threads": 1}))
    try:
        loaded = engine.load()
        chunks = list(engine.generate(request("one", "What is this?")))
    finally:
        engine.close()

    assert loaded.dtype == "float32"
    assert chunks[-1].stats.completion_tokens > 0
    float_bytes = 2 * 2 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 256)
    cache = 4 * 2048 * 2 * 2 * 64 * 4
    assert loaded.memory_bytes - cache < float_bytes + 4 * 512 * 128 + 800_000
