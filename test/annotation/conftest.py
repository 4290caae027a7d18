# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Annotation folders made by hand, as `vila annotate` leaves them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from vila_ros.annotation.coda_lm import empty_annotation
from vila_ros.annotation.records import candidate_to_json, draft_to_json, to_line
from vila_ros.annotation.store import FORMAT, VERSION
from vila_ros.annotation.types import Candidate, Draft, RawAnswer, Reason

START_NS = 1_700_000_000_000_000_000
WIDTH, HEIGHT = 64, 48


def jpeg(value: int = 90, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A small picture; different values give different bytes."""
    noise = np.random.default_rng(value).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def annotation(text: str = "a quiet road") -> dict:
    """An annotation with one car and one cone."""
    filled = empty_annotation()
    filled["general_perception"]["vehicles"] = [
        {"description": "a red car ahead", "explanation": "it may brake"}
    ]
    filled["general_perception"]["description and explanation"] = text
    filled["region_perception"] = {
        "1": {
            "description and explanation": "a car",
            "box": [10, 12, 20, 10],
            "category_name": "car",
        }
    }
    filled["driving_suggestion"] = "slow down"
    return filled


def write_folder(folder: Path, count: int = 3, recording: str = "/data/drive") -> Path:
    """An annotation folder of `count` candidates, each with a draft."""
    for name in ("images", "drafts"):
        (folder / name).mkdir(parents=True)
    manifest = {"format": FORMAT, "version": VERSION, "settings": {}, "recordings": [recording]}
    (folder / "annotations.json").write_text(json.dumps(manifest))
    lines = []
    for number in range(count):
        name = f"drive-front-{number:05d}"
        stamp = START_NS + number * 1_000_000_000
        reason = Reason("motion", f"braked at {number + 3}.0 m/s²", 0.5, {"deceleration": 3.0})
        lines.append(
            to_line(
                candidate_to_json(
                    Candidate(
                        id=name,
                        recording=recording,
                        camera="front",
                        topic="/front/image_raw/compressed",
                        stamp_ns=stamp,
                        recorded_ns=stamp,
                        frame_id="front_optical_frame",
                        width=WIDTH,
                        height=HEIGHT,
                        image=f"images/{name}.jpg",
                        score=1.0 - number / (2 * count),
                        reasons=(reason,),
                    )
                )
            )
        )
        (folder / "images" / f"{name}.jpg").write_bytes(jpeg(number % 7))
        draft = Draft(name, annotation(), "tiny", "torch", (RawAnswer("general", "?", "{}"),))
        (folder / "drafts" / f"{name}.json").write_text(json.dumps(draft_to_json(draft)))
    (folder / "candidates.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """write_folder() below a temporary folder."""

    def make(count: int = 3, name: str = "annotations", **options: str) -> Path:
        return write_folder(tmp_path / name, count, **options)

    return make


@pytest.fixture(scope="session")
def golden() -> Path:
    """A tiny checkpoint with random weights."""
    root = Path(__file__).resolve().parent.parent
    return root / "data" / "vila" / "nvila_2x2fix_70px" / "checkpoint"
