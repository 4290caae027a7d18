# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C ends a run after its step, and the same command goes on."""

import os
import signal
from pathlib import Path

import pytest
import torch

from test.training.test_finetune import base, data, finetune, weights
from vila_ros.training import loop

__all__ = ["base", "data"]


@pytest.fixture
def handlers():
    """The signal handlers of the test process, put back afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_ctrl_c_saves_and_the_run_goes_on(
    base, data, tmp_path: Path, monkeypatch, capsys, handlers
):
    step = loop._step

    def interrupted(model, optimizer, given, *more):
        if given.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(model, optimizer, given, *more)

    out, whole = tmp_path / "out", tmp_path / "whole"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", interrupted)
        assert finetune(base, data, out) == 130
    told = capsys.readouterr().out
    assert "stopped after step 2 of 5; the same command goes on there" in told
    assert not out.exists()
    assert finetune(base, data, out, "--learning-rate", "1e-2") == 1
    assert "learning_rate" in capsys.readouterr().err
    assert finetune(base, data, out) == 0
    assert "going on with the run" in capsys.readouterr().out
    assert finetune(base, data, whole) == 0
    first, second = weights(out), weights(whole)
    assert all(torch.equal(first[name], second[name]) for name in first)
