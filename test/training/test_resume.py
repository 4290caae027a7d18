# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A run that is killed goes on as if nothing had happened; several processes do as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from test.training.test_finetune import base, data, finetune, weights
from vila_ros.errors import InvalidRequest
from vila_ros.training.run_folder import Progress, RunFolder, SavedState

__all__ = ["base", "data"]

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
# Dropout draws random numbers in every step, and adapters have an optimizer state of their own.
ARGUMENTS = ("--lora", "2", "--lora-dropout", "0.2", "--epochs", "1.4", "--save-every", "2")


def command(base: Path, data: Path, out: Path, *more: str) -> list[str]:
    given = ["--base", str(base), "--data", str(data), "--out", str(out), "--device", "cpu"]
    given += ["--batch", "5", "--learning-rate", "3e-3", "--log-every", "1"]
    return ["-m", "vila_ros.cli.main", "finetune", *given, *more]


KILL_IN_STEP_6 = """
import os, signal, sys
from vila_ros.cli.main import main
from vila_ros.training import loop
step = loop._step
def killed(model, optimizer, data, *more):
    if data.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(model, optimizer, data, *more)
loop._step = killed
main(sys.argv[1:])
"""


def test_a_killed_run_ends_in_the_same_weights(base: Path, data: Path, tmp_path: Path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    given = command(base, data, killed, *ARGUMENTS)[2:]
    done = subprocess.run(
        [sys.executable, "-c", KILL_IN_STEP_6, *given],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "step 5/7" in done.stdout
    assert not killed.exists()
    states = sorted((tmp_path / "killed.training" / "finetune").glob("state-*[0-9]"))
    assert [state.name for state in states] == ["state-00000004"]
    torch.manual_seed(99)
    assert finetune(base, data, killed, *ARGUMENTS) == 0
    torch.manual_seed(1)
    assert finetune(base, data, whole, *ARGUMENTS) == 0
    first, second = weights(killed), weights(whole)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "| 7 | 35 |" in (killed / "README.md").read_text(), "steps and samples of both attempts"


def curves(folder: Path) -> dict[str, list[float]]:
    """What TensorBoard shows of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


# Two runs in the same processes, which take seconds to start.
COPIES_THEN_SHARDS = """
import sys
from vila_ros.cli.main import main
from vila_ros.training.processes import Processes
close, Processes.close = Processes.close, lambda self: None
first, second = sys.argv[1:3]
assert main(["finetune", "--out", first, *sys.argv[3:]]) == 0
Processes.close = close
sys.exit(main(["finetune", "--out", second, "--fsdp", *sys.argv[3:]]))
"""


def test_two_processes_learn_what_one_does(base: Path, data: Path, tmp_path: Path):
    """Five samples a step do not divide by two, and one has no image."""
    one, copies, shards = (tmp_path / name for name in ("one", "copies", "shards"))
    more = ("--max-steps", "5", "--stages", "sft", "--no-pack", "--save-every", "3")
    script = tmp_path / "runs.py"
    script.write_text(COPIES_THEN_SHARDS)
    given = command(base, data, one, *more)[3:]
    at = given.index("--out")
    given = [*given[:at], *given[at + 2 :]]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, str(script), str(copies), str(shards), *given],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 5/5") == 2, "one process speaks"
    assert finetune(base, data, one, *more) == 0
    first, before = weights(one), weights(base)
    mine = curves(one / "logs" / "sft")
    moved = max(float((first[name] - before[name]).abs().max()) for name in first)
    assert moved > 5e-3
    for several in (copies, shards):
        second, theirs = weights(several), curves(several / "logs" / "sft")
        assert first.keys() == second.keys()
        for name in first:
            assert torch.allclose(first[name], second[name], atol=2e-4), name
        # Adam does not mind the scale of gradients, so their norms are compared as well.
        assert mine["train/samples"] == theirs["train/samples"] == [5, 10, 15, 20, 25]
        for tag in ("loss", "learning_rate", "gradient_norm"):
            assert theirs[f"train/{tag}"] == pytest.approx(mine[f"train/{tag}"], rel=1e-3)
        assert min(theirs["train/tokens_per_second"]) > 0


def state(step: int) -> SavedState:
    return SavedState(Progress(step), {"x": torch.full((2,), float(step))}, {"state": {}})


def test_a_state_is_whole_or_not_there(tmp_path: Path):
    folder = RunFolder(tmp_path / "out", {"seed": 1})
    assert not folder.open()
    assert folder.load("sft") is None
    folder.save("sft", state(3))
    part = folder.path / "sft" / "state-00000009.part"
    part.mkdir()
    found = folder.load("sft")
    assert found is not None
    assert found.progress.step == 3
    folder.save("sft", state(10))
    assert [path.name for path in (folder.path / "sft").glob("state-*[0-9]")] == ["state-00000010"]
    assert folder.open(), "the same run goes on"
    (folder.path / "sft" / "state-00000010" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InvalidRequest, match="state-00000010 is damaged"):
        folder.load("sft")


def test_other_settings_are_refused_once_something_is_learnt(tmp_path: Path):
    first = RunFolder(tmp_path / "out", {"seed": 1, "lora": None})
    assert not first.open()
    first.remember("data", {"sft": {}})
    assert not first.open(), "nothing is learnt yet"
    assert first.recall("data") is not None, "but the data need not be looked through again"
    second = RunFolder(tmp_path / "out", {"seed": 2, "lora": None})
    assert not second.open()
    assert second.recall("data") is None, "other settings begin anew"
    second.save("sft", state(1))
    with pytest.raises(InvalidRequest, match="unfinished run with seed 2, not 1"):
        first.open()


def test_files_that_no_run_has_made_are_not_touched(tmp_path: Path):
    folder = RunFolder(tmp_path / "out", {"seed": 1})
    folder.path.mkdir()
    (folder.path / "my_notes.txt").write_text("precious")
    with pytest.raises(InvalidRequest, match="not of a run; choose another --out, or move it away"):
        folder.open()
    assert (folder.path / "my_notes.txt").read_text() == "precious"
    (folder.path / "my_notes.txt").rename(folder.path / "run.json.part")
    assert not folder.open(), "a run that was killed at its very beginning"
    other = RunFolder(tmp_path / "file", {"seed": 1})
    other.path.write_text("precious")
    with pytest.raises(InvalidRequest, match="not of a run"):
        other.open()
