# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The hook that hides faces is a part of what an export is."""

from __future__ import annotations

import pytest

from test.datasets.export_data import export, write_recording
from vila_ros.datasets.split import SplitRule
from vila_ros.errors import UnusableFolder

EVERY = "samples: [{name: look, every: 0, question: What, answer: A picture}]"
HIDES_HALF = "def hide(picture, source):\n    picture[: len(picture) // 2] = 0\n"


def test_a_hook_that_was_changed_is_another_run(tmp_path, monkeypatch):
    """Else a folder of pictures with faces would be called complete by one that hides them."""
    recording = write_recording(tmp_path / "drive")
    module = tmp_path / "hides_half_of_it.py"
    module.write_text(HIDES_HALF)
    monkeypatch.syspath_prepend(tmp_path)
    options = {"template": EVERY, "hook": "hides_half_of_it:hide", "split": SplitRule(val=0)}
    export(tmp_path, recording, **options)
    assert export(tmp_path, recording, **options).already
    module.write_text(HIDES_HALF.replace(" // 2", ""))
    with pytest.raises(UnusableFolder, match=r"of another run: hook\.source was"):
        export(tmp_path, recording, **options)
