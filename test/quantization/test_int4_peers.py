# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/int4.py compares with multiplies by the same weights."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vila_ros.quantization.int4_weight import Int4Weight

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("int4_parts.peers")


def some_weight() -> Int4Weight:
    """Zero points and scales that differ."""
    packed = torch.randint(-(2**31), 2**31 - 1, (128, 32), dtype=torch.int32)
    scales = (torch.rand(128, 2) / 8 + 0.01).half()
    return Int4Weight(packed, scales, torch.randint(0, 16, (128, 2), dtype=torch.uint8))


def compare(peers, names):
    torch.manual_seed(0)
    weights = [some_weight(), some_weight()]
    found = {each.name: each for each in peers.contenders(weights)}
    assert set(names) <= set(found)
    for name in names:
        for rows in (1, 9):
            x = torch.randn(rows, 256)
            for weight, product in zip(weights, found[name].run(x), strict=True):
                expected = x @ weight.dequantise().T
                assert (product.float() - expected).norm() / expected.norm() < 0.02, (name, rows)


def test_torch_s_kernel_and_ours_multiply_alike(peers):
    compare(peers, ["vila_ros", "torch bf16", "torch int4"])


def test_openvino_s_graph_holds_the_same_weights(peers):
    pytest.importorskip("openvino")
    compare(peers, list(peers.OPENVINO))


def test_layers_are_those_of_the_decoder(peers):
    layers = {each.name: each for each in peers.layers_of("1b")}
    assert (layers["k v"].rows, layers["k v"].columns, layers["k v"].count) == (256, 2048, 44)
    assert sum(each.count for each in layers.values()) == 22 * 7


def test_without_openvino_the_rest_is_measured_and_that_is_said():
    code = f"""
import runpy, sys
sys.modules["openvino"] = None
sys.argv = "int4.py --shapes tiny --parts peers --rounds 2 --threads 1".split()
runpy.run_path({str(FOLDER / "int4.py")!r}, run_name="__main__")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "OpenVINO: not measured, the module openvino cannot be imported here" in ran.stdout
    figures = json.loads(ran.stdout.splitlines()[-1])["figures"]
    assert set(figures["tiny layers"]) == {"vila_ros", "torch bf16", "torch int4"}
    assert figures["tiny layers"]["torch int4"]["row_ms"] > 0
    assert figures["tiny whole"]["step_ms"] > 0
