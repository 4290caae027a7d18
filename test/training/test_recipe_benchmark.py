# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""benchmarks/recipe.py runs, and prints its table and its line of JSON."""

import json
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "recipe.py"


def test_the_recipe_benchmark_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--quick"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert result["name"] == "recipe"
    assert set(result["figures"]) == {"recipe", "projector only", "no text", "linear"}
    assert result["figures"]["recipe"]["spread"]["pictures"] == 0.0  # of one seed


@pytest.mark.parametrize("given", [("--seeds", "0"), ("--quick", "--threads", "-1")])
def test_numbers_out_of_range_are_named(given, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *given])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert ended.value.code == 2
    assert f"{' '.join(given[-2:])}" in capsys.readouterr().err
