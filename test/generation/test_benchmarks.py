"""The measuring scripts run, on a model that is too small to measure anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPT = FOLDER / "generate.py"
BLOCKED = ["av", "cv2", "jsonschema", "psutil", "rclpy", "rosbags"]
BLOCKED += ["sentencepiece", "tiktoken", "xgrammar"]


def test_generate_needs_no_more_than_it_says():
    """Run with everything else of the package's requirements out of reach."""
    code = f"""
import runpy, sys
for name in {BLOCKED}:
    sys.modules[name] = None
sys.argv = ["generate.py", "--shape", "tiny", "--dtype", "float32", "--threads", "1"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout.splitlines()[-1])
    assert result["ok"] is None
    assert result["figures"]["same_text"] == "1/1"
    assert result["figures"]["tokens_per_s"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_generate_says_when_it_could_not_measure():
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--device", "cuda"], capture_output=True, text=True
    )
    assert ran.returncode == 0
    assert "not measured: no CUDA device" in ran.stdout
    assert json.loads(ran.stdout.splitlines()[-1])["ok"] is None


def test_int4_needs_no_more_than_it_says():
    code = f"""
import runpy, sys
for name in {BLOCKED}:
    sys.modules[name] = None
sys.argv = "int4.py --shapes tiny --parts decode,prompt --rounds 2 --threads 1".split()
runpy.run_path({str(FOLDER / "int4.py")!r}, run_name="__main__")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode in (0, 1), ran.stderr
    figures = json.loads(ran.stdout.splitlines()[-1])["figures"]["tiny"]
    assert figures["int4_tokens_per_s"] > 0
    assert figures["decode_ratio"] > 0
    assert figures["prompt_ratio"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_int4_says_when_it_could_not_measure():
    command = [sys.executable, FOLDER / "int4.py", "--device", "cuda"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0
    assert json.loads(ran.stdout.splitlines()[-1])["ok"] is None
