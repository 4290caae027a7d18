# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Visual engines, built and run by the calls of TensorRT's contract."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from test.contracts.conftest import BLUE, RED, ask, engine_dir
from test.engine_folders import seal, write_visual_engine
from vila_ros.engine.engine_folder import read_visual_engine
from vila_ros.engine.tensorrt_llm_engine import TensorRtLlmEngine
from vila_ros.engine.visual_session import VisualSession
from vila_ros.errors import EngineFailed, InvalidCheckpoint, InvalidRequest, Unsupported
from vila_ros.quantization.visual_engine import build

SHAPES = {"largest": [2, 3, 56, 56], "rows": 4, "hidden": 64}


@pytest.fixture
def tensorrt(install, monkeypatch):
    """TensorRT's contract, and a stream for a machine that has no CUDA."""
    recorder = install("tensorrt_10")
    stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    return recorder


def engine_of(folder, **about):
    write_visual_engine(folder)
    (folder / "model.engine").write_bytes(json.dumps({**SHAPES, **about}).encode())
    return read_visual_engine(folder)


@pytest.mark.parametrize("output", ["encoder_output", "output"])
def test_images_become_rows_whatever_the_release_calls_the_output(tensorrt, tmp_path, output):
    session = VisualSession(engine_of(tmp_path, output=output), "cpu")

    rows = session(torch.stack([torch.full((3, 56, 56), 0.25), torch.full((3, 56, 56), -1.0)]))

    assert (session.rows, session.max_images) == (4, 2)
    torch.testing.assert_close(rows[0], torch.full((4, 64), 0.25))
    torch.testing.assert_close(rows[1], torch.full((4, 64), -1.0))


def test_an_engine_of_another_version_is_told_as_such(tensorrt, tmp_path):
    engine = engine_of(tmp_path)
    engine.file.write_bytes(b"\x00 not for this TensorRT")

    with pytest.raises(InvalidCheckpoint, match=r"cannot be deserialized by TensorRT 10\.11"):
        VisualSession(engine, "cpu")


def test_more_images_than_it_was_built_for_are_an_error(tensorrt, tmp_path):
    session = VisualSession(engine_of(tmp_path), "cpu")

    with pytest.raises(EngineFailed, match="at most 2 images"):
        session(torch.zeros(3, 3, 56, 56))


def test_without_tensorrt_the_message_says_what_is_missing(tmp_path):
    with pytest.raises(Unsupported, match="comes with tensorrt_llm"):
        VisualSession(engine_of(tmp_path), "cpu")


def test_the_engine_path_sees_through_the_visual_engine_in_batches_that_it_takes(
    tensorrt, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path))
    from test.contracts.conftest import HERE

    monkeypatch.syspath_prepend(str(HERE / "v1_2"))
    folder = engine_dir(tmp_path / "engine", checkpoint)
    engine_of(folder / "vision")
    seal(folder, architecture=None)
    engine = TensorRtLlmEngine(str(folder), device="cpu")
    engine.load()

    green = type(RED)(RED.pixels // 2, key="front@3")
    last = list(engine.generate(ask(RED, BLUE, green, "what")))[-1]

    assert last.stats.images_encoded == 3
    assert [given["shape"][0] for given in tensorrt.calls("Context.set_input_shape")] == [2, 1]
    (table,) = tensorrt.calls("PromptTuningConfig")
    assert table["embedding_table"].shape == (12, 64)
    engine.close()


def test_a_visual_engine_of_another_model_is_refused(tensorrt, checkpoint, tmp_path, monkeypatch):
    from test.contracts.conftest import HERE

    monkeypatch.syspath_prepend(str(HERE / "v1_2"))
    folder = engine_dir(tmp_path / "engine", checkpoint)
    engine_of(folder / "vision", rows=196)
    seal(folder, architecture=None)

    with pytest.raises(InvalidCheckpoint, match=r"196 rows an image.*has 4"):
        TensorRtLlmEngine(str(folder), device="cpu").load()


def test_an_engine_is_built_from_a_graph_and_described_as_the_runtime_reads_it(tensorrt, tmp_path):
    graph = tmp_path / "onnx"
    graph.mkdir()
    (graph / "model.onnx").write_bytes(b"onnx")
    about = {"image_size": 56, "rows_per_image": 4, "hidden_size": 64, "token_order": "column"}
    (graph / "visual.json").write_text(json.dumps(about))

    folder = build(graph, tmp_path / "vision", max_images=4)

    (shapes,) = tensorrt.calls("Profile.set_shape")
    assert (shapes["min"][0], shapes["opt"][0], shapes["max"][0]) == (1, 2, 4)
    built = read_visual_engine(folder)
    assert (built.model_type, built.max_images, built.rows_per_image) == ("vila", 4, 4)
    assert VisualSession(built, "cpu").rows == 4


@pytest.mark.parametrize(
    ("graph", "says"),
    [(b"nonsense", "not an ONNX graph"), (b"onnx unbuildable", "could not build")],
)
def test_a_failed_build_leaves_nothing(tensorrt, tmp_path, graph, says):
    (tmp_path / "model.onnx").write_bytes(graph)
    about = {"image_size": 56, "rows_per_image": 4, "hidden_size": 64, "token_order": "column"}
    (tmp_path / "visual.json").write_text(json.dumps(about))

    with pytest.raises(EngineFailed, match=says):
        build(tmp_path, tmp_path / "vision", max_images=4)
    with pytest.raises(InvalidRequest):
        build(tmp_path, tmp_path / "vision", max_images=0)

    assert not (tmp_path / "vision").exists()


def test_what_stands_there_is_not_touched(tmp_path):
    write_visual_engine(tmp_path / "vision")

    with pytest.raises(InvalidRequest, match="exists already; name another folder by --out"):
        build(tmp_path, tmp_path / "vision", max_images=4)

    assert read_visual_engine(tmp_path / "vision").max_images == 2
