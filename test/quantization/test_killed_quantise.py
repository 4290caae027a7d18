# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A quantisation that is killed by SIGKILL goes on, and ends with the bytes of one that was not."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization.int4_writer import write_safetensors
from vila_ros.quantization.quantise import quantise_folder
from vila_ros.quantization.samples import drawn_conversations, split_samples

TWO = Shape(128, 2, 4, 2, 256, 512, 2048, 32, 3, 4, 64, 56)
COUNT = 10
CHILD = """
import os, signal, sys
from pathlib import Path
import torch
from vila_ros.quantization import quantise
from vila_ros.quantization.samples import drawn_conversations, split_samples

torch.set_num_threads(1)
model, out, count, when = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def told(line):
    if line.startswith(when):
        die()

def half(path, tensors, write=quantise.write_safetensors):
    write(path, tensors)
    if path.name.startswith("block-001"):
        os.truncate(path, path.stat().st_size // 2)
        die()

if when == "a half-written block":
    quantise.write_safetensors = half
samples = split_samples(drawn_conversations(int(count)), "drawings")
quantise.quantise_folder(Path(model), Path(out), samples, progress=told)
"""


def run(model: Path, out: Path) -> list[str]:
    """Quantise here; what it told."""
    told: list[str] = []
    samples = split_samples(drawn_conversations(COUNT), "drawings")
    quantise_folder(model, out, samples, progress=told.append)
    return told


def kill(model: Path, out: Path, when: str) -> None:
    """Quantise in a process that kills itself at some moment."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(model), str(out), str(COUNT), when],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_random_checkpoint(
        tmp_path_factory.mktemp("float") / "model", TWO, dtype="bfloat16"
    )


@pytest.fixture(scope="module")
def unbroken(model, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("int4") / "out"
    run(model, out)
    return out


@pytest.mark.parametrize(
    ("when", "finished"), [("block 1", 1), ("a half-written block", 1), ("sealing", 2)]
)
def test_it_goes_on_after_the_finished_blocks(model, unbroken, tmp_path, when, finished):
    out = tmp_path / "out"
    kill(model, out, when)
    assert not out.exists()

    told = run(model, out)

    assert f"going on after {finished} finished blocks" in told
    assert bytes_below(out) == bytes_below(unbroken)
    for name in ("out.report.json", "out.report.md"):
        assert (tmp_path / name).read_bytes() == unbroken.with_name(name).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_blocks_of_the_model_as_it_was_before_more_training_are_not_taken(model, tmp_path):
    folder, out = tmp_path / "model", tmp_path / "out"
    write_random_checkpoint(folder, TWO, dtype="bfloat16")
    kill(folder, out, "block 1")
    path = folder / "llm" / "model.safetensors"
    file = SafetensorsFile(path)
    tensors = {name: file.read(name).clone() for name in file.tensors}
    tensors["model.layers.0.mlp.down_proj.weight"] *= 2
    write_safetensors(path, tensors)

    told = run(folder, out)

    assert not any(line.startswith("going on") for line in told)


def test_a_run_killed_while_it_wrote_what_it_is_begins_anew(model, unbroken, tmp_path):
    work = tmp_path / "out.part" / "work"
    work.mkdir(parents=True)
    (work / "run.json").write_text('{"ke')

    run(model, tmp_path / "out")

    assert bytes_below(tmp_path / "out") == bytes_below(unbroken)
