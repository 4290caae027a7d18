# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small datasets on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Pictures a.png, b.png (64 x 48) and a folder of frames, in numeric order 1, 2, 10."""
    folder = tmp_path / "media"
    (folder / "clip").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "clip/f1.png", "clip/f2.png", "clip/f10.png"]):
        pixels = np.full((48, 64, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


def qa(question: str, answer: str, **keys: Any) -> dict[str, Any]:
    """A record of VILA's form."""
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"conversations": turns, **keys}


def write_json(path: Path, records: list[Any], indent: int | None = 1) -> Path:
    path.write_text(json.dumps(records, indent=indent))
    return path


def write_lines(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return path
