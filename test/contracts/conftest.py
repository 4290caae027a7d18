# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A release's contract on the path, and folders for the engines to load."""

from __future__ import annotations

import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from test.engine_folders import seal, write_language_engine
from vila_ros.engine.interface import GenerationRequest, ImagePart, Message, Part, TextPart
from vila_ros.model.random_checkpoint import write_random_checkpoint

HERE = Path(__file__).resolve().parent
ENGINE_RELEASES = {"0.12": "v0_12_jetson", "1.2.1": "v1_2"}
LLM_RELEASES = {"1.0": "v1_0", "1.2.1": "v1_2"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """install("v1_2") makes that release the tensorrt_llm of this process, for one test."""

    def forget() -> None:
        for name in list(sys.modules):
            if name.split(".")[0] in ("tensorrt", "tensorrt_llm") or name.startswith("contract_"):
                del sys.modules[name]

    def put_on_path(release: str) -> ModuleType:
        forget()
        monkeypatch.syspath_prepend(str(HERE / "common"))
        monkeypatch.syspath_prepend(str(HERE / release))
        import contract_recorder

        return contract_recorder

    yield put_on_path
    forget()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def engine_dir(folder: Path, checkpoint: Path, **changes: object) -> Path:
    """An engine folder whose images are encoded in torch."""
    write_language_engine(folder / "llm", **changes)
    (folder / "model").symlink_to(checkpoint, target_is_directory=True)
    return seal(folder, architecture=None)


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An interpreter of its own for each release, as a robot has one for TensorRT-LLM."""
    made = {}
    site = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    for release in ("v0_12_jetson", "v1_0", "v1_2"):
        home = tmp_path_factory.mktemp("interpreters") / release
        venv.create(home, with_pip=False, symlinks=True)
        own = next(home.glob("lib/python*/site-packages"))
        lines = [str(HERE / release), str(HERE / "common"), *site]
        (own / "contract.pth").write_text("\n".join(lines) + "\n")
        made[release] = home / "bin" / "python"
    return made


def colour(red: int, green: int, blue: int) -> np.ndarray:
    """An RGB image of one colour, [48, 64, 3]."""
    return np.full((48, 64, 3), (red, green, blue), dtype=np.uint8)


def ask(*parts: Part | str, **options: object) -> GenerationRequest:
    """A request of one user message; strings are its texts."""
    said = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    options.setdefault("request_id", "request")
    options.setdefault("max_tokens", 400)
    return GenerationRequest(messages=(Message("user", said),), **options)  # type: ignore[arg-type]


RED = ImagePart(colour(255, 0, 0), key="front@1")
BLUE = ImagePart(colour(0, 0, 255), key="front@2")
