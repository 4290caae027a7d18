# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The verbs about engines, on a machine that has neither a GPU nor TensorRT-LLM."""

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from test.engine_folders import seal, write_language_engine, write_visual_engine
from vila_ros.cli.main import main
from vila_ros.engine.deployment import PLATFORMS, fit, model_bytes
from vila_ros.engine.machine import find_gpu
from vila_ros.model.random_checkpoint import SHAPES, Shape, write_random_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = Shape(256, 1, 4, 2, 256, 512, 2048, 32, 3, 4, 64, 56)
without_gpu = pytest.mark.skipif(find_gpu() is not None, reason="this machine has a CUDA GPU")


@pytest.fixture
def engine(tmp_path):
    root = tmp_path / "engine"
    write_language_engine(root / "llm")
    write_visual_engine(root / "vision")
    (root / "model").symlink_to(write_random_checkpoint(tmp_path / "tiny"))
    return seal(root)


@without_gpu
def test_engine_info_tells_limits_and_checks(engine, capsys):
    assert main(["engine", "info", str(engine)]) == 0

    said = capsys.readouterr().out
    assert "batch 2, input 512, sequence 1024, image rows 64" in said
    assert "images: at most 8 in a question, 4 rows each" in said
    assert "not checked GPU: built for sm_87; this machine has no CUDA GPU" in said
    assert "checksums: " in said


@without_gpu
def test_engine_info_for_programs(engine, capsys):
    assert main(["engine", "info", str(engine), "--json", "--no-checksums"]) == 0

    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["rows_per_image"], said["built_for"]) == (8, 4, "sm_87")
    assert said["language"]["quantization"] == "W4A16_AWQ"
    assert {"level": "ok", "about": "template", "text": "vicuna_v1"} in said["findings"]
    assert "checksums" not in {each["about"] for each in said["findings"]}


def test_engine_info_fails_for_an_engine_that_cannot_run(engine, capsys):
    (engine / "llm" / "rank0.engine").write_bytes(b"changed")

    assert main(["engine", "info", str(engine)]) == 1
    assert "error       checksums" in capsys.readouterr().out


def test_engine_info_of_something_else_is_one_line(tmp_path, capsys):
    assert main(["engine", "info", str(tmp_path)]) == 1

    said = capsys.readouterr().err
    assert said.startswith("vila engine: ")
    assert said.count("\n") == 1


def test_the_plan_of_a_build_is_told_with_commands_to_repeat_and_nothing_is_done(tmp_path, capsys):
    model = write_random_checkpoint(tmp_path / "model", SMALL)
    pictures = tmp_path / "camera images"
    pictures.mkdir()
    Image.new("RGB", (8, 8)).save(pictures / "a.png")
    out = tmp_path / "out"

    arguments = ["build-engine", str(model), "--profile", "agx_orin", "--out", str(out)]
    assert main([*arguments, "--calibration", str(pictures), "--dry-run"]) == 0

    said = capsys.readouterr().out
    assert "GB of memory (estimated)" in said
    commands = [shlex.split(line) for line in said.splitlines() if " --out" in line]
    assert any(str(pictures) in command for command in commands)
    assert f"trtllm-build --checkpoint_dir {out}/build/quantised/checkpoint" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (["--profile", "tx2"], "profile 'tx2' is unknown"),
        (["--profile", "rtx"], "needs --calibration"),
        (["--profile", "rtx", "--precision", "fp8"], "precision 'fp8' is unknown"),
    ],
)
def test_a_build_that_cannot_be_is_one_line(tmp_path, capsys, extra, says):
    model = write_random_checkpoint(tmp_path / "model", SMALL)

    assert main(["build-engine", str(model), "--out", str(tmp_path / "out"), *extra]) == 1
    assert says in capsys.readouterr().err


def test_a_build_that_cannot_be_written_is_one_line(tmp_path, capsys):
    model = write_random_checkpoint(tmp_path / "model", SMALL)
    (tmp_path / "file").touch()
    arguments = ["build-engine", str(model), "--profile", "rtx", "--precision", "float16"]

    assert main([*arguments, "--out", str(tmp_path / "file" / "engine")]) == 1
    said = capsys.readouterr().err
    assert "file/engine cannot be written: Not a directory; name another folder" in said


def test_nvila_is_told_before_anything_is_built(tmp_path, capsys):
    model = write_random_checkpoint(tmp_path / "model", SMALL, overrides={"fps": 0.0})

    code = main(["build-engine", str(model), "--profile", "rtx", "--out", str(tmp_path / "out")])

    assert code == 1
    assert "NVILA" in capsys.readouterr().err


def test_contracts_and_probes_are_listed_without_any_runtime(capsys):
    assert main(["verify-runtime", "--list"]) == 0

    said = capsys.readouterr().out
    assert "executor.Request(max_new_tokens, " in said
    assert "20a7cec991b8" in said
    assert "out of memory" in said
    assert "not yet verified on hardware" in said


def test_a_runtime_of_our_own_is_probed_and_signed_off_for_real(tmp_path, capsys):
    model = write_random_checkpoint(tmp_path / "tiny")
    report = tmp_path / "made for it" / "report.json"

    arguments = ["verify-runtime", "--model", str(model), "--runtime", "torch"]
    assert main([*arguments, "--report", str(report)]) == 0

    said = capsys.readouterr().out
    assert "signed off; sha256 " in said
    written = json.loads(report.read_text())
    assert written["sha256"] in said
    passed = {each["name"]: each["passed"] for each in written["probes"]}
    assert passed["one image"] is passed["cancel"] is passed["json"] is True
    assert main([*arguments, "--report", str(report / "below a file")]) == 1
    assert "below a file' cannot be written: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "either --engine DIR or --model DIR"),
        (["--engine", "a", "--model", "b"], "either --engine DIR or --model DIR"),
        (["--model", "a", "--option", "device=cuda"], "is not NAME=JSON"),
        (["--engine", "a"], "tensorrt_llm"),
    ],
)
def test_a_verification_that_cannot_be_is_told(capsys, arguments, says):
    assert main(["verify-runtime", *arguments]) == 1
    assert says in capsys.readouterr().err


# What fits where


def test_the_page_about_deployment_has_the_computed_table(capsys):
    assert main(["engine", "platforms"]) == 0

    table = capsys.readouterr().out.split("\n\n")[0]
    assert table in (ROOT / "docs" / "deployment.md").read_text()


def test_the_weights_are_those_of_the_published_models():
    """VILA1.5-3b: Sheared-LLaMA 2.7B, SigLIP so400m without its last layer, the projector."""
    assert model_bytes(SHAPES["vila1.5-3b"], "fp16").weights == pytest.approx(2 * 3.12e9, rel=0.01)
    assert model_bytes(SHAPES["vila1.5-8b"], "fp16").weights == pytest.approx(2 * 8.47e9, rel=0.01)


def test_the_arithmetic_counts_what_a_checkpoint_holds(tmp_path):
    from vila_ros.model.info import describe_model

    shape = SHAPES["tiny"]
    info = describe_model(write_random_checkpoint(tmp_path / "tiny"))

    needs = model_bytes(shape, "fp16")
    assert needs.kv_per_token * 1000 == info.fp16.kv_cache_per_1000_tokens
    # The stored tower has its last layer too, which never runs.
    assert needs.weights <= info.fp16.weights
    assert model_bytes(shape, "int4").weights < needs.weights


def test_more_memory_never_holds_less_and_what_does_not_fit_says_so():
    orin = [each for each in PLATFORMS if "AGX" in each.name]
    small, large = (fit(platform, "vila1.5-13b", "fp16") for platform in orin)
    assert not small.fits
    assert small.context == 0
    assert large.frames > 0

    rtx = [fit(each, "vila1.5-13b", "int4") for each in PLATFORMS if "RTX" in each.name]
    assert [each.context for each in rtx] == sorted(each.context for each in rtx)
