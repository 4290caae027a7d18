# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmarks/embedded_model.py says what is wrong with its arguments before it asks anything."""

import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("pybullet", reason="rendered scenes need pybullet")

SCRIPT = str(Path(__file__).resolve().parents[2] / "benchmarks" / "embedded_model.py")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--tub", "/nowhere/tub.tar.gz"), "--tub is /nowhere/tub.tar.gz, which does not exist"),
        (("--work", "/nowhere"), "--work is /nowhere, which has no shards/ of a training"),
        (("--threads", "0"), "--threads 0 and --epochs 6 must be at least 1"),
    ],
)
def test_arguments_that_cannot_be_are_named(given, told, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [SCRIPT, "--model", "/nowhere/model", *given])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(SCRIPT, run_name="__main__")
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
