# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was learnt, as a checkpoint folder that loads as any VILA checkpoint."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from vila_ros.errors import InvalidRequest
from vila_ros.model.config import VilaConfig, read_json
from vila_ros.model.language_model import language_name
from vila_ros.model.vila import Vila
from vila_ros.model.weights import WeightFile, open_weights
from vila_ros.quantization.out_folder import check_free
from vila_ros.training.run_folder import PART, flush

WEIGHT_FILES = re.compile(
    r".*\.(safetensors|bin)|.*\.(safetensors|bin)\.index\.json|.*\.(pt|pth|gguf)"
)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that gets its name only when it is complete.

    Raises InvalidRequest when the name is taken.
    """
    check_free(folder)
    part = folder.with_name(folder.name + PART)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    for path in sorted(part.rglob("*")):
        flush(path)
    part.replace(folder)
    flush(folder.parent)


def write_checkpoint(vila: Vila, learnt: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Fill a folder with a model's files, the learnt tensors in place of its own.

    vila: the model as it was loaded; its config tells where its files are. learnt: by the names of
    VilaForTraining ("projector.layers.1.weight"). Stored types stay as they are. The template and
    the order of tokens are written down, since they may have been chosen by the folder's name.
    Raises InvalidRequest for a tensor that no file has.
    """
    config = vila.config
    waiting = dict(learnt)
    parts = {
        "language_model": (config.llm_folder, folder / "llm", language_name),
        "vision_tower": (
            config.vision_folder,
            folder / "vision_tower",
            vila.vision_tower.published_name,
        ),
        "projector": (config.projector_folder, folder / "mm_projector", str),
    }
    for part, (source, target, name_of) in parts.items():
        own = {
            name.removeprefix(f"{part}."): waiting.pop(name)
            for name in list(waiting)
            if name.startswith(f"{part}.")
        }
        _copy_files(source, target, weights=not own)
        if own:
            _write_weights(source, target, own, name_of)
    if waiting:
        raise InvalidRequest(f"{min(waiting)} belongs to no part of the model")
    _write_config(config, vila.conversation.name, folder)


def _copy_files(source: Path, target: Path, weights: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file() and (weights or not WEIGHT_FILES.fullmatch(file.name)):
            shutil.copyfile(file, target / file.name)


def _write_weights(
    source: Path, target: Path, own: dict[str, torch.Tensor], name_of: object
) -> None:
    """The files of a part in the same shards, tensors of `own` replaced."""
    from safetensors.torch import save_file

    assert callable(name_of)
    files = open_weights(source)
    places: dict[str, str] = {}
    written: set[str] = set()
    for number, file in enumerate(files, start=1):
        name = "model.safetensors"
        if len(files) > 1:
            name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        tensors = dict(_replaced(file, own, name_of, written))
        save_file(tensors, target / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(tensors, name))
    missing = sorted(set(own) - written)
    if missing:
        raise InvalidRequest(f"{source} has no tensor that would be {missing[0]}")
    if len(files) > 1:
        index = {"metadata": {}, "weight_map": places}
        (target / "model.safetensors.index.json").write_text(json.dumps(index))


def _replaced(
    file: WeightFile, own: Mapping[str, torch.Tensor], name_of: object, written: set[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    assert callable(name_of)
    for stored, info in file.tensors.items():
        name = name_of(stored)
        if name not in own:
            yield stored, file.read(stored).clone()
            continue
        written.add(name)
        yield stored, own[name].detach().to("cpu", info.dtype).contiguous().clone()


def _write_config(config: VilaConfig, conversation: str, folder: Path) -> None:
    raw = read_json(config.root / "config.json")
    raw["conversation"] = conversation
    for name in ("llm", "vision_tower", "mm_projector"):
        if isinstance(raw.get(f"{name}_cfg"), str):
            raw[f"{name}_cfg"] = name
    (folder / "config.json").write_text(json.dumps(raw, indent=2), encoding="utf-8")
