"""The measuring scripts run, on a model that is too small to measure anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "generate.py"
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
