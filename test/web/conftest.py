# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A review page over a recorded drive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from test.annotation.conftest import annotation
from vila_ros.annotation.records import candidate_to_json, draft_to_json, to_line
from vila_ros.annotation.store import FORMAT, MANIFEST, VERSION, AnnotationFolder
from vila_ros.annotation.types import Candidate, Draft, RawAnswer, Reason
from vila_ros.bags.drive_recording import CAMERA_TOPIC, FRAME_ID
from vila_ros.bags.synthetic_drive import HEIGHT, WIDTH, write_drive
from vila_ros.perception.jpeg import encode_jpeg
from vila_ros.web.film_strip import FilmStrips
from vila_ros.web.review import ReviewCalls
from vila_ros.web.server import LocalServer

MINERS = ("motion", "novelty", "question")


@pytest.fixture(scope="session")
def drive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A recording of four seconds and its frames' stamps."""
    path = tmp_path_factory.mktemp("review") / "drive"
    return path, [truth.stamp_ns for truth in write_drive(path, seconds=4.0)]


def write_review(folder: Path, recording: Path, stamps: list[int], count: int) -> Path:
    """An annotation folder of a drive's frames; with many candidates they share a picture."""
    import numpy as np

    for name in ("images", "drafts"):
        (folder / name).mkdir(parents=True)
    (folder / MANIFEST).write_text(f'{{"format": "{FORMAT}", "version": {VERSION}}}')
    shade = np.tile(np.linspace(40, 200, WIDTH, dtype=np.uint8)[None, :, None], (HEIGHT, 1, 3))
    picture = folder / "images" / "shared.jpg"
    picture.write_bytes(encode_jpeg(shade, 60))
    lines = []
    for number in range(count):
        name = f"drive-front-{number:05d}"
        stamp = stamps[(5 + number * 3) % len(stamps)]
        miner = MINERS[number % 3]
        candidate = Candidate(
            name, str(recording), "front", CAMERA_TOPIC, stamp, stamp, FRAME_ID, WIDTH, HEIGHT,
            "images/shared.jpg", round(1 - number / (count + 1), 4),
            (Reason(miner, f"{miner} number {number}", 0.5),),
        )  # fmt: skip
        lines.append(to_line(candidate_to_json(candidate)))
        if count < 100:
            draft = Draft(name, _draft(), "tiny", "torch", (RawAnswer("general", "?", "{}"),))
            text = to_line(draft_to_json(draft))
            (folder / "drafts" / f"{name}.json").write_text(text)
    (folder / "candidates.jsonl").write_text("".join(lines))
    return folder


def _draft() -> dict:
    drafted = annotation("a quiet road")
    drafted["region_perception"]["1"]["box"] = [100, 90, 160, 120]
    return drafted


@dataclass
class Serving:
    """A review page that is served; restart() puts it back at the same address."""

    folder: AnnotationFolder
    server: LocalServer = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self, port: int = 0, token: str | None = None) -> None:
        calls = ReviewCalls(self.folder, FilmStrips(), "Ada")
        self.server = LocalServer(calls.site(), port, token)
        threading.Thread(target=self.server.serve, daemon=True).start()

    def restart(self) -> None:
        self.start(self.server.port, self.server.token)


@pytest.fixture
def serve(tmp_path: Path, drive: tuple[Path, list[int]]) -> Iterator[Callable[..., Serving]]:
    """A served folder of `count` candidates."""
    served: list[Serving] = []

    def make(count: int = 6) -> Serving:
        folder = write_review(tmp_path / "annotations", *drive, count)
        served.append(Serving(AnnotationFolder(folder)))
        return served[-1]

    yield make
    for each in served:
        each.server.close()
