# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Golden folders: reference results on disk, and what came out when they were recomputed.

A folder holds a checkpoint, meta.json (prompts by file name) and .npz files of what the reference
computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRequest
from vila_ros.model.config import MediaEncoderConfig

Arrays = Mapping[str, NDArray[Any]]

STAGES = (
    "template",
    "preprocessing",
    "ids",
    "vision",
    "projection",
    "embeddings",
    "logits",
    "tokens",
    "labels",
    "loss",
    "ratios",
    "scales",
    "clips",
    "integers",
    "packed",
)
KNOWN_ARRAYS = re.compile(
    r"image_\d+|pixel_values|block_sizes?|vision_features|projected|input_ids|inputs_embeds"
    r"|logits|logits_tail|logits_last_valid|generated_ids|min_top2_margin|labels|attention_mask"
    r"|merged_(attention_mask|position_ids|labels)|loss"
)


@dataclass(frozen=True)
class Check:
    """One stage of one file. difference: the largest absolute one; None where a stage is exact
    (then it is equal or failed) or takes its values from the file. failure: why, empty if passed.
    """

    stage: str
    difference: float | None = None
    note: str = ""
    failure: str = ""


@dataclass(frozen=True)
class FileReport:
    """All checks of one golden file."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed; a file that checks nothing has not."""
        compared = [check for check in self.checks if check.note != GIVEN]
        return bool(compared) and not any(check.failure for check in self.checks)


GIVEN = "given"
EQUAL = "equal"


def find_checkpoint(folder: Path) -> Path:
    """The checkpoint of a golden folder: checkpoint/, itself, or its only folder that is one."""
    for candidate in (folder / "checkpoint", folder):
        if (candidate / "config.json").is_file():
            return candidate
    found = [path.parent for path in sorted(folder.glob("*/config.json"))]
    if len(found) != 1:
        raise InvalidRequest(f"{folder} has {len(found)} folders with a config.json, expected one")
    return found[0]


def video_encoder(stem: str, entry: Mapping[str, Any]) -> MediaEncoderConfig | None:
    """The video encoder that meta.json or a file's name asks for; None: the checkpoint's own.

    Names: …_basic_encoder…, …_tsp_pool_T_H_W… with one or more triples.
    """
    spec = entry.get("video_encoder") or {}
    spec = json.loads(spec) if isinstance(spec, str) and spec.startswith("{") else spec
    given = spec if isinstance(spec, Mapping) else {"_target_": spec}
    sizes = entry.get("pool_sizes") or given.get("pool_sizes")
    named = re.search(r"tsp_pool((?:_\d+){3,})", stem)
    if not sizes and named:
        numbers = [int(number) for number in named[1].split("_")[1:]]
        sizes = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    if sizes:
        pools = tuple((int(t), int(h), int(w)) for t, h, w in sizes)
        return MediaEncoderConfig(
            given.get("start_tokens"), given.get("end_tokens", "\n"), given.get("sep_tokens"), pools
        )
    return MediaEncoderConfig(end_tokens="\n") if "basic_encoder" in stem else None


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz file; InvalidRequest names a file that is broken or pickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise InvalidRequest(f"{path} is no readable .npz file: {error}") from error


def images_of(arrays: Arrays) -> tuple[RgbImage, ...]:
    """The raw images of a file, in order."""
    names = sorted((n for n in arrays if n.startswith("image_")), key=lambda n: int(n[6:]))
    return tuple(arrays[name] for name in names)
