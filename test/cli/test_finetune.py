# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila finetune` never leaves out data that was named."""

from __future__ import annotations

import pytest

from vila_ros.cli.main import main


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (["a.json", "b.json*2"], "all stages; to train on both write --data 'a.json+b.json*2'"),
        (
            ["c.json", "sft=a.json", "sft=b.json"],
            "stage sft; to train on both write --data 'sft=a.json+b.json'",
        ),
    ],
)
def test_data_given_twice_for_a_stage_are_refused(capsys, data, says):
    named = [word for each in data for word in ("--data", each)]
    assert main(["finetune", "--base", "model", *named, "--check"]) == 1
    assert capsys.readouterr().err == f"vila finetune: --data is given twice for {says}\n"
