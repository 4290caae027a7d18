# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila quantize` and `vila convert`, as a person runs them."""

import pytest

from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.cli.main import main
from vila_ros.cli.quantize import FORMATS, read_dataset
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.quantization import formats

SHAPE = Shape(128, 1, 4, 2, 128, 512, 2048, 32, 3, 4, 64, 56)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("model") / "robot", SHAPE)


def test_the_command_line_names_the_formats_that_exist():
    assert set(FORMATS) == set(formats.FORMATS)


def test_a_model_is_quantised_described_and_converted(model, tmp_path, capsys):
    out = tmp_path / "robot-int4"
    assert main(["quantize", str(model), "--out", str(out), "--samples", "10"]) == 0
    told = capsys.readouterr().out
    assert "block 1 of 1" in told
    assert "int4, rounded to nearest" in told
    assert str(tmp_path / "robot-int4.report.md") in told

    assert main(["model", "info", str(out)]) == 0
    assert "int4 (compressed-tensors, sealed), the rest float32" in capsys.readouterr().out

    assert main(["convert", str(out), "--to", "gemm", "--out", str(tmp_path / "gemm")]) == 0
    assert main(["model", "info", str(tmp_path / "gemm")]) == 0
    assert "int4 (gemm, sealed)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--samples", "3"], "--samples is 3; at least 5"),
        (["--calibration", "nowhere"], "nowhere: no such file or folder"),
        (["--group", "96"], "groups of 96 do not divide the 128 inputs"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(model, tmp_path, capsys, words, says):
    assert main(["quantize", str(model), "--out", str(tmp_path / "out"), *words]) == 1

    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert says in said[0]
    assert not list(tmp_path.iterdir())


def test_a_recording_calibrates(tmp_path):
    write_drive(tmp_path / "drive", seconds=1.5, rate=10.0)

    samples = read_dataset(tmp_path / "drive", 10)

    assert (len(samples.calibration), len(samples.held_out)) == (8, 2)
    assert samples.origin == "drive"
    assert samples.calibration[0].messages[0].parts[0].pixels.shape == (360, 640, 3)
