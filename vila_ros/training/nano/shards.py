# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes as the vision tower sees them, kept on disk: the tower does not learn.

A shard is NAME.npy, float16 [pictures, 256, 384], and NAME.json, the scenes' seeds and truths. It
is written whole or not at all, so that an interrupted run goes on with the next one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vila_ros.errors import InvalidRequest, UnusableFolder
from vila_ros.fleet.files import unwritable
from vila_ros.model.config import vision_config
from vila_ros.model.dinov2_onnx import packaged_file, read_tower
from vila_ros.model.embedded import shipped_folder
from vila_ros.model.image_processing import IMAGENET_MEAN, IMAGENET_STD
from vila_ros.model.vision_tower import VisionTower
from vila_ros.simulation.renderer import Renderer
from vila_ros.simulation.scene import FrameTruth, SeenThing
from vila_ros.simulation.scenes import Scene, clip_scene, crowd_scene, draw_scene, still_scene
from vila_ros.training.nano.cells import CellLabels, label_cells

LAYER = 5
SIDE = 224
PATCHES = (SIDE // 14) ** 2
WIDTH = 384
# Drawn somewhat smaller than a camera's picture, which the model squeezes to a square as well.
_DRAWN = (256, 192)
STILL, CROWD, CLIP, BRIEF = "still", "crowd", "clip", "brief"
_BRIEF_VIEWS = 3  # what things do hangs on a clip's ends: more clips teach more than longer ones
_LABELS = tuple(field.name for field in fields(CellLabels))

See = Callable[[NDArray[np.uint8]], NDArray[np.float16]]
"""Pictures [B, 224, 224, 3] to features [B, 256, 384]."""


@dataclass(frozen=True)
class ShardPlan:
    """A shard: `count` scenes of a kind, the first of which has seed `first`."""

    name: str
    kind: str
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class SceneRecord:
    """A rendered scene: the numbers of its pictures' features, and its truths, in time order."""

    pictures: tuple[int, ...]
    frames: tuple[FrameTruth, ...]

    @property
    def is_clip(self) -> bool:
        """Whether it has several pictures."""
        return len(self.frames) > 1


def vision_tower() -> See:
    """DINOv2-S up to the layer that the model reads, in bfloat16."""
    folder = shipped_folder() / "vision_tower"
    tower = VisionTower(vision_config(folder), LAYER, "patch")
    tensors = read_tower(packaged_file(), LAYER, SIDE // 14)
    tower.load_state_dict({tower.published_name(name): each for name, each in tensors.items()})
    tower.eval().to(torch.bfloat16)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (IMAGENET_MEAN, IMAGENET_STD))

    @torch.no_grad()
    def see(pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        seen = tower(((pixels - mean) / std).to(torch.bfloat16))
        return np.asarray(seen.to(torch.float16).numpy())

    return see


def scene_of(kind: str, seed: int) -> Scene:
    """The scene of a seed. Raises InvalidRequest for an unknown kind."""
    makers: dict[str, Callable[[int], Scene]] = {
        STILL: still_scene,
        CROWD: crowd_scene,
        CLIP: clip_scene,
        BRIEF: partial(clip_scene, frames=_BRIEF_VIEWS),
    }
    if kind not in makers:
        raise InvalidRequest(f"kind {kind!r} is unknown; it is {', '.join(makers)}")
    return makers[kind](seed)


def write_shard(plan: ShardPlan, folder: Path, see: See) -> None:
    """Render a shard's scenes and keep what the tower sees; nothing to do if it is there.

    Raises UnusableFolder if the folder has another shard of that name, or cannot be written.
    """
    done = folder / f"{plan.name}.json"
    if done.is_file():
        _scenes(plan, folder)
        return
    try:
        _render(plan, folder, see)
    except OSError as error:
        raise unwritable(folder, error) from error


def _render(plan: ShardPlan, folder: Path, see: See) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    features: list[NDArray[np.float16]] = []
    scenes: list[dict[str, Any]] = []
    pictures = 0
    with Renderer(*_DRAWN) as renderer:
        for seed in range(plan.first, plan.first + plan.count):
            shown, truths = draw_scene(renderer, scene_of(plan.kind, seed))
            drawn = [np.asarray(Image.fromarray(each).resize((SIDE, SIDE))) for each in shown]
            features.append(see(np.stack(drawn)))
            scenes.append(
                {"seed": seed, "first": pictures, "frames": [asdict(truth) for truth in truths]}
            )
            pictures += len(drawn)
    part = folder / f"{plan.name}.part.npy"
    np.save(part, np.concatenate(features))
    part.rename(folder / f"{plan.name}.npy")
    part = folder / f"{plan.name}.part.json"
    part.write_text(json.dumps({"kind": plan.kind, "scenes": scenes}))
    part.rename(folder / f"{plan.name}.json")


def _scenes(plan: ShardPlan, folder: Path) -> list[dict[str, Any]]:
    """A shard's scenes as they were kept; see write_shard."""
    try:
        kept = json.loads((folder / f"{plan.name}.json").read_text())
        seeds = [int(scene["seed"]) for scene in kept["scenes"]]
        whole = (folder / f"{plan.name}.npy").is_file()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableFolder(
            f"{folder / plan.name}.json cannot be read: {error!r}; remove it to render its scenes"
        ) from error
    if not whole:
        raise UnusableFolder(
            f"{folder / plan.name}.npy is not there; remove {plan.name}.json to render its scenes"
        )
    if kept.get("kind") != plan.kind or seeds != [*range(plan.first, plan.first + plan.count)]:
        raise UnusableFolder(
            f"{folder / plan.name}.json holds {len(seeds)} scenes of another recipe, not the "
            f"{plan.count} {plan.kind} scenes from seed {plan.first}; name another work folder"
        )
    return list(kept["scenes"])


class Shards:
    """All shards together. records: their scenes; pictures are numbered through all of them.

    Raises UnusableFolder if one is not there, or another of its name.
    """

    def __init__(self, folder: Path, plans: Sequence[ShardPlan]) -> None:
        self._maps: list[NDArray[np.float16]] = []
        starts = [0]
        records: list[SceneRecord] = []
        labels: list[CellLabels] = []
        for plan in plans:
            for raw in _scenes(plan, folder):
                records.append(_record(raw, starts[-1]))
                labels.append(label_cells(scene_of(plan.kind, raw["seed"])))
            self._maps.append(np.load(folder / f"{plan.name}.npy", mmap_mode="r"))
            starts.append(starts[-1] + len(self._maps[-1]))
        self._starts = np.array(starts)
        self.records = tuple(records)
        self._labels = CellLabels(
            *(np.concatenate([getattr(each, name) for each in labels]) for name in _LABELS)
        )

    @property
    def pictures(self) -> int:
        """How many there are."""
        return int(self._starts[-1])

    def features(self, numbers: NDArray[np.int64]) -> torch.Tensor:
        """float32 [len(numbers), 256, 384]."""
        found = np.empty((len(numbers), PATCHES, WIDTH), np.float16)
        which = np.searchsorted(self._starts, numbers, "right") - 1
        for place, (shard, number) in enumerate(zip(which, numbers, strict=True)):
            found[place] = self._maps[shard][number - self._starts[shard]]
        return torch.from_numpy(found).float()

    def labels(self, numbers: NDArray[np.int64]) -> CellLabels:
        """The labels of pictures' cells."""
        return CellLabels(*(getattr(self._labels, name)[numbers] for name in _LABELS))


def _record(raw: Mapping[str, Any], offset: int) -> SceneRecord:
    frames = tuple(
        FrameTruth(
            frame["stamp_ns"],
            frame["place"],
            frame["speed"],
            tuple(SeenThing(**thing) for thing in frame["things"]),
        )
        for frame in raw["frames"]
    )
    first = offset + int(raw["first"])
    return SceneRecord(tuple(range(first, first + len(frames))), frames)
