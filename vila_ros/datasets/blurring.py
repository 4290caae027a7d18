# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The user's hook that hides faces and plates before a picture leaves the recording."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRequest, VilaError


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Where a picture comes from, for a hook that treats cameras differently."""

    recording: str
    camera: str
    topic: str
    stamp_ns: int


Hook = Callable[[RgbImage, PictureSource], RgbImage | None]
"""Takes a picture, uint8 RGB [H, W, 3], which it may change in place, and where it is from; returns
the picture to use, of the same size, or None for the one it was given."""


class BlurFailed(VilaError):
    """The hook raised or returned no picture; the export stops: nothing goes out unblurred."""


@cache
def load_hook(name: str) -> Hook:
    """The function "module:function", found on sys.path or in the working directory.

    Raises InvalidRequest if there is none.
    """
    module_name, _, function_name = name.partition(":")
    if not module_name or not function_name:
        raise InvalidRequest(f"The blurring hook '{name}' is not of the form 'module:function'.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything
        raise InvalidRequest(
            f"The blurring hook's module '{module_name}' cannot be imported: "
            f"{type(error).__name__}: {error}."
        ) from error
    hook = getattr(module, function_name, None)
    if not callable(hook):
        raise InvalidRequest(
            f"The blurring hook's module '{module_name}' has no '{function_name}'."
        )
    return hook  # type: ignore[no-any-return]


def hook_identity(name: str) -> dict[str, str]:
    """What tells a hook from another of the same name: its module's file. Raises as load_hook().

    What the module imports, and the weights that it loads, are not looked at.
    """
    load_hook(name)
    file = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
    if file is None:  # a module without a file, as one that is built in
        return {"name": name}
    return {"name": name, "source": hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}


def blurred(name: str, picture: RgbImage, source: PictureSource) -> RgbImage | None:
    """What the hook makes of a picture; None if it left it as it is. Raises BlurFailed."""
    hook = load_hook(name)
    before = picture.copy()
    where = f"camera '{source.camera}' of '{source.recording}' at {source.stamp_ns / 1e9:.3f} s"
    try:
        result = hook(picture, source)
    except Exception as error:  # the user's hook may raise anything
        raise BlurFailed(
            f"The blurring hook '{name}' failed on {where}: {type(error).__name__}: {error}. "
            "The export stopped; this picture and its samples were not written."
        ) from error
    after = picture if result is None else result
    if not isinstance(after, np.ndarray) or after.dtype != np.uint8 or after.shape != before.shape:
        shape = getattr(after, "shape", None)
        raise BlurFailed(
            f"The blurring hook '{name}' returned {type(after).__name__} {shape or ''} for "
            f"{where}; it must return a uint8 array of shape {before.shape}, or None."
        )
    return None if np.array_equal(before, after) else np.ascontiguousarray(after)
