# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA's and LLaVA's JSON: conversations with <image> tokens, media in files beside.

Upstream has a class for each way media stand in a conversation (llava/data/dataset_impl/llava.py in
NVlabs/VILA), so each gets files of its own:

    SPLIT_image.json        pictures before the first question     LLaVADataset
    SPLIT_interleaved.json  pictures between texts and turns       LLaVANextDataset
    SPLIT_video.json        one clip, a folder of frames           LLaVADataset, is_video

registry.yaml registers them all: VILA_DATASETS=OUT/registry.yaml names it to upstream.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from vila_ros.datasets.records import Clip, ExportedSample, Turn
from vila_ros.datasets.template import SampleRule
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export

REGISTRY = "registry.yaml"
IMAGE_TOKEN, VIDEO_TOKEN = "<image>", "<video>"
_CLASSES = {
    "image": ("llava.data.LLaVADataset", False),
    "interleaved": ("llava.data.LLaVANextDataset", False),
    "video": ("llava.data.LLaVADataset", True),
}
_PART, _BETWEEN = ".rows", ",\n"
_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one a row
_ROLES = {"user": "human", "assistant": "gpt"}


def group_of(sample: ExportedSample) -> str:
    """Which of upstream's classes can read a sample."""
    if sample.kind == "video":
        return "video"
    return "image" if sample.media_first else "interleaved"


def conversation_of(sample: ExportedSample) -> dict[str, Any]:
    """A sample as upstream's classes read it.

    As many <image> tokens as images, in reading order; <video> for a clip. A system turn goes in
    front of the first question, for upstream's files have no such role.
    """
    row: dict[str, Any] = {"id": sample.id}
    clips = [part for turn in sample.turns for part in turn.parts if isinstance(part, Clip)]
    if clips:
        row["video"] = clips[0].folder
    else:
        order = [part for turn in sample.turns for part in turn.parts if isinstance(part, int)]
        files = [sample.media[index].file for index in order]
        row["image"] = files[0] if group_of(sample) == "image" and len(files) == 1 else files
    row["conversations"] = [
        {"from": _ROLES[turn.role], "value": turn_text(turn)} for turn in _spoken(sample.turns)
    ]
    return row


def turn_text(turn: Turn) -> str:
    """A turn with a token for each medium; those before all text stand on lines of their own."""
    text = ""
    leading = True
    for part in turn.parts:
        if isinstance(part, str):
            begins = leading and text and not part[:1].isspace()
            text += f"\n{part}" if begins else part
            leading = False
        else:
            token = VIDEO_TOKEN if isinstance(part, Clip) else IMAGE_TOKEN
            text += f"\n{token}" if leading and text else token
    return text


def _spoken(turns: Sequence[Turn]) -> Iterator[Turn]:
    system = ""
    for turn in turns:
        if turn.role == "system":
            system = f"{turn.text}\n"
            continue
        if system:
            media = [part for part in turn.parts if not isinstance(part, str)]
            leading = turn.parts[: len(media)] == tuple(media)
            parts = (
                (*media, system + "".join(p for p in turn.parts if isinstance(p, str)))
                if leading
                else (system, *turn.parts)
            )
            turn, system = Turn(turn.role, parts), ""
        yield turn


class VilaJson:
    """See Format."""

    clip_folders = True

    def refuses_rule(self, rule: SampleRule) -> str:
        """Everything can be held."""
        return ""

    def refuses(self, sample: ExportedSample) -> str:
        """Everything can be held."""
        return ""

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """A task's part of each list, in a file of its own: elements without the brackets."""
        lists: dict[str, list[str]] = {}
        for sample in samples:
            name = f"{sample.split}_{group_of(sample)}"
            lists.setdefault(name, []).append(_encode(conversation_of(sample)))
        for name, rows in lists.items():
            (folder / f"{name}{_PART}").write_text(_BETWEEN.join(rows), encoding="utf-8")
        return {"lists": sorted(lists)}

    def write(self, export: Export) -> None:
        """The JSON files and the registry."""
        for output in export.outputs:
            export.adopt(output.folder / "media", output.place)
        lists: dict[str, list[Path]] = {}
        for output in export.outputs:
            for name in output.value["packed"]["lists"]:
                lists.setdefault(name, []).append(output.folder / f"{name}{_PART}")
        for name, parts in lists.items():
            _join(parts, export.out / f"{name}.json")
        self._register(export, sorted(lists))

    def _register(self, export: Export, lists: Sequence[str]) -> None:
        """Upstream resolves paths from its own working directory, so these are absolute."""
        out = export.out.absolute()
        registry = {}
        for name in lists:
            target, is_video = _CLASSES[name.partition("_")[2]]
            registry[f"{export.name}_{name}"] = {
                "_target_": target,
                "data_path": str(out / f"{name}.json"),
                "media_dir": str(out),
                **({"is_video": True} if is_video else {}),
            }
        with whole_file(export.out / REGISTRY) as file:
            file.write(yaml.safe_dump(registry, sort_keys=True).encode())


def _join(parts: Sequence[Path], path: Path) -> None:
    """The tasks' elements as one JSON array, an element a line."""
    with whole_file(path) as file:
        before = "[\n"
        for part in parts:
            file.write(before.encode())
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, file)
            before = _BETWEEN
        file.write(b"\n]\n")


FORMAT = VilaJson()
