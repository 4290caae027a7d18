# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""DriveLM (arXiv:2312.14150): scenes with key frames, and questions of four kinds about them.

    train.json  {SCENE: {scene_description, key_frames: {TOKEN: {key_object_infos, QA,
                image_paths}}}}

A scene is a recording, a key frame the moment of a sample, named by its newest frame's stamp.
Paths are relative to the JSON file. Boxes are [left, top, right, bottom] in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from vila_ros.datasets.records import ExportedSample
from vila_ros.datasets.template import CATEGORIES, SampleRule
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export

_ONE_A_CAMERA = "DriveLM has one picture a camera in a key frame, no clips"
SPLITS = ("train", "val")


def camera_key(camera: str) -> str:
    """A camera's name as nuScenes writes it: "front" is "CAM_FRONT"."""
    name = camera.upper()
    return name if name.startswith("CAM_") else f"CAM_{name}"


class DriveLm:
    """See Format."""

    clip_folders = False

    def refuses_rule(self, rule: SampleRule) -> str:
        """Clips and several pictures of one camera cannot be held."""
        return _ONE_A_CAMERA if rule.media == "video" or rule.over else ""

    def refuses(self, sample: ExportedSample) -> str:
        """Clips and several pictures of one camera cannot be held."""
        cameras = {media.camera for media in sample.media}
        fits = sample.kind != "video" and len(cameras) == len(sample.media)
        return "" if fits else _ONE_A_CAMERA

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """Nothing: the pictures' files are the format's."""
        return {}

    def write(self, export: Export) -> None:
        """A JSON file a split, a scene in memory at a time."""
        for output in export.outputs:
            export.adopt(output.folder / "media", output.place)
        for split in SPLITS:
            chosen = (sample for sample in export.samples() if sample.split == split)
            first = next(chosen, None)
            if first is None:
                continue
            with whole_file(export.out / f"{split}.json") as file:
                before = "{\n"
                for name, scene in groupby(_chain(first, chosen), lambda each: each.recording):
                    text = json.dumps(_scene(scene), ensure_ascii=False, indent=1)
                    file.write(f"{before}{json.dumps(name)}: {text}".encode())
                    before = ",\n"
                file.write(b"\n}\n")


def _chain(first: ExportedSample, rest: Iterator[ExportedSample]) -> Iterator[ExportedSample]:
    yield first
    yield from rest


def _scene(samples: Iterator[ExportedSample]) -> dict[str, Any]:
    frames: dict[str, dict[str, Any]] = {}
    description = ""
    for sample in samples:
        frame = frames.setdefault(
            str(sample.media[-1].stamp_ns),
            {
                "key_object_infos": {},
                "QA": {category: [] for category in CATEGORIES},
                "image_paths": {},
            },
        )
        for media in sample.media:
            frame["image_paths"].setdefault(camera_key(media.camera), media.file)
        if sample.annotation is not None:
            frame["key_object_infos"] = _objects(sample)
        for question, answer in sample.pairs():
            frame["QA"][sample.category].append(
                {
                    "Q": question,
                    "A": answer,
                    "C": None,
                    "con_up": None,
                    "con_down": None,
                    "cluster": None,
                    "layer": None,
                }
            )
        if sample.source == "logged" and not description:
            description = sample.pairs()[0][1]
    return {"scene_description": description, "key_frames": frames}


def _objects(sample: ExportedSample) -> dict[str, Any]:
    """The regions of a reviewed annotation."""
    objects = {}
    camera = camera_key(sample.media[0].camera)
    regions = (sample.annotation or {}).get("region_perception", {})
    for number, region in enumerate(regions.values(), start=1):
        x, y, width, height = region["box"]
        tag = f"<c{number},{camera},{x + width / 2:.1f},{y + height / 2:.1f}>"
        objects[tag] = {
            "Category": region["category_name"],
            "Status": None,
            "Visual_description": region["description and explanation"],
            "2d_bbox": [x, y, round(x + width, 2), round(y + height, 2)],
        }
    return objects


FORMAT = DriveLm()
