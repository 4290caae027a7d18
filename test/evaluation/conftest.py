# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated drives as bags in both storages, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.fleet.engines import close_engines

QUESTIONS = """\
version: 1
title: A short drive
defaults: {cameras: front, window: 1s, max_frames: 2, every: 1s}
questions:
  - id: stop_sign
    ask: Is a stop sign in the picture?
    choices: [yes, no]
    choice: {topic: /ground_truth, value: "data.objects[kind=stop sign] | any"}
  - id: people
    ask: How many people are in the picture?
    number: {topic: /ground_truth, value: "data.objects[kind=person] | count"}
    tolerance: 1.5
  - id: speed
    ask: How fast is it?
    choices: [slow, fast]
    choice: {topic: /speed, bins: {slow: [null, 10], fast: [10, null]}}
  - id: cone_near
    ask: Is a cone near?
    every: 500ms
    choices: [yes, no]
    event:
      when: yes
      topic: /ground_truth
      value: "data.objects[kind=cone][distance<12] | any"
      tolerance: 1s
  - id: weather
    ask: What is the weather?
    text:
      labels:
        - {at: 0.4, is: clear sky}
        - {recording: drive_mcap, at: 2, is: [sunny, "2 images, mean 123"]}
  - id: scene
    ask: Describe it.
    every: 2s
    json_schema: {type: object, properties: {road: {enum: [straight, curved]}}, required: [road]}
    fields: {road: straight}
"""


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """drive_mcap and drive_sqlite3, four seconds each."""
    folder = tmp_path_factory.mktemp("drives")
    paths = []
    for seed, storage in enumerate(("mcap", "sqlite3")):
        path = folder / f"drive_{storage}"
        write_drive(path, seconds=4.0, rate=5.0, seed=seed, storage=storage)
        paths.append(path)
    return paths


@pytest.fixture
def unreadable(drives: list[Path], tmp_path: Path) -> tuple[list[Path], Callable[[], None]]:
    """Two recordings, the first unreadable until what stands beside them is called.

    As where there was no space to unpack it; to the run it is the same recording.
    """
    paths = [tmp_path / "first.mcap", tmp_path / "second.mcap"]
    whole = next(drives[0].glob("*.mcap")).read_bytes()
    for path, data in zip(paths, (bytes(len(whole)), whole), strict=True):
        path.write_bytes(data)

    def mend() -> None:
        paths[0].write_bytes(whole)

    return paths, mend


@pytest.fixture
def line_separators() -> str:
    """What Unicode calls the end of a line (UAX 14) and JSON does not: one answer still."""
    return "one\u2028two\u2029three\x85four"


@pytest.fixture(autouse=True)
def no_engine_is_left():
    """Engines of other tests answer otherwise."""
    yield
    close_engines()
