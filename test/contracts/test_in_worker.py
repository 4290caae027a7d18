# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Both runtimes behind the supervisor, each in a worker with an interpreter of its own."""

from __future__ import annotations

import pytest

from test.contracts.conftest import BLUE, RED, ask, engine_dir
from vila_ros.engine.interface import EngineSpec
from vila_ros.engine.supervision import EngineState
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import Cancelled, Unsupported


def supervised(spec: EngineSpec, interpreter) -> SupervisedEngine:
    return SupervisedEngine(spec, interpreter=str(interpreter))


@pytest.mark.parametrize(("release", "version"), [("v0_12_jetson", "0.12.0"), ("v1_2", "1.2.1")])
def test_the_engine_path_answers_from_its_own_interpreter(
    interpreters, checkpoint, tmp_path, release, version
):
    folder = engine_dir(tmp_path / "engine", checkpoint, version=version)
    spec = EngineSpec("tensorrt_llm_engine", str(folder), {"device": "cpu"})
    engine = supervised(spec, interpreters[release])
    try:
        assert engine.load().runtime == f"tensorrt_llm_engine {version}"
        chunks = list(engine.generate(ask("look", RED, "and", BLUE, "closely")))
        assert "closely" in "".join(chunk.text for chunk in chunks)
        assert chunks[-1].stats.images_encoded == 2
    finally:
        engine.close()


@pytest.mark.parametrize(("release", "version"), [("v1_0", "1.0.0"), ("v1_2", "1.2.1")])
def test_the_llm_api_answers_from_its_own_interpreter_and_can_be_cancelled(
    interpreters, checkpoint, monkeypatch, release, version
):
    monkeypatch.setenv("CONTRACT_DELAY", "0.01")
    spec = EngineSpec("tensorrt_llm_pytorch", str(checkpoint), {})
    engine = supervised(spec, interpreters[release])
    try:
        assert engine.load().runtime == f"tensorrt_llm_pytorch {version}"
        said = "".join(chunk.text for chunk in engine.generate(ask("look", RED, "closely")))
        assert said == "vicuna_v1: look image closely"
        stream = engine.generate(ask("word " * 300, request_id="long"))
        while not next(stream).tokens:
            pass
        engine.cancel("long")
        with pytest.raises(Cancelled):
            list(stream)
    finally:
        engine.close()


def test_a_release_that_cannot_run_engines_is_refused_with_the_last_one_that_can(
    interpreters, checkpoint, tmp_path
):
    folder = engine_dir(tmp_path / "engine", checkpoint)
    home = interpreters["v1_2"].parent.parent
    site = next(home.glob("lib/python*/site-packages"))
    newer = site / "tensorrt_llm-1.3.0rc21.dist-info"
    newer.mkdir()
    (newer / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: 1.3.0rc21\n"
    )
    engine = supervised(
        EngineSpec("tensorrt_llm_engine", str(folder), {"device": "cpu"}), interpreters["v1_2"]
    )
    try:
        with pytest.raises(Unsupported, match=r"1\.3\.0rc21 cannot run .* 1\.2\.1, the\s+last"):
            engine.load()
        assert engine.status().state is EngineState.FAILED
    finally:
        engine.close()
        (newer / "METADATA").unlink()
        newer.rmdir()
