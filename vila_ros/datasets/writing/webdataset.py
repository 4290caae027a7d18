# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""WebDataset: tar shards, a sample's files side by side, with an index for random access.

    train/000000.tar            KEY.jpg, KEY.json; several pictures are KEY.0.jpg, KEY.1.jpg, …
    train/wids-meta.json        the shards, their samples and sizes

KEY.json holds a conversation as VILA's JSON does, with "image" naming the files' endings, and the
sample's split, source and provenance. Keys have no dot, at which readers would cut them.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vila_ros.datasets.records import Clip, ExportedSample
from vila_ros.datasets.template import SampleRule
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export
from vila_ros.datasets.writing.vila_json import conversation_of

MAX_SHARD_BYTES = 256 << 20
INDEX = "wids-meta.json"
SHARDS = "shards"


def members_of(sample: ExportedSample) -> list[tuple[str, int]]:
    """Endings of a sample's pictures in reading order, and which of its media each is."""
    order: list[int] = []
    for turn in sample.turns:
        for part in turn.parts:
            if isinstance(part, Clip):
                order += part.frames
            elif isinstance(part, int):
                order.append(part)
    endings = [Path(sample.media[index].file).suffix.lstrip(".") for index in order]
    if len(order) == 1:
        return [(endings[0], order[0])]
    width = len(str(len(order) - 1))
    return [
        (f"{number:0{width}d}.{ending}", index)
        for number, (ending, index) in enumerate(zip(endings, order, strict=True))
    ]


class WebDataset:
    """See Format."""

    clip_folders = False

    def refuses_rule(self, rule: SampleRule) -> str:
        """Everything can be held."""
        return ""

    def refuses(self, sample: ExportedSample) -> str:
        """Everything can be held."""
        return ""

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """A task's samples as shards below shards/; its media are removed."""
        shards: dict[str, list[int]] = {}
        (folder / SHARDS).mkdir()
        for split in sorted({sample.split for sample in samples}):
            chosen = [sample for sample in samples if sample.split == split]
            counts = shards.setdefault(split, [])
            for number, group in enumerate(_groups(chosen)):
                self._shard(folder, f"{split}-{number:06d}.tar", group, place)
                counts.append(len(group))
        shutil.rmtree(folder / "media", ignore_errors=True)
        return {"shards": shards}

    def _shard(
        self, folder: Path, name: str, samples: Sequence[ExportedSample], place: str
    ) -> None:
        with tarfile.open(folder / SHARDS / name, "w", format=tarfile.GNU_FORMAT) as tar:
            for sample in samples:
                key = sample.id.replace(".", "_")
                endings = []
                for ending, index in members_of(sample):
                    file = folder / "media" / Path(sample.media[index].file).relative_to(place)
                    _add(tar, f"{key}.{ending}", file.read_bytes())
                    endings.append(ending)
                row = {
                    **conversation_of(sample),
                    "split": sample.split,
                    "source": sample.source,
                    "rule": sample.rule,
                    "provenance": {
                        "recording": sample.recording,
                        "frames": [_frame(media) for media in sample.media],
                        "values": dict(sample.values),
                        **sample.provenance,
                    },
                }
                clip = row.pop("video", None)
                row["video" if clip else "image"] = endings if clip or len(endings) > 1 else (
                    endings[0]
                )  # fmt: skip
                _add(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())

    def write(self, export: Export) -> None:
        """The shards under their numbers, and their index."""
        lists: dict[str, list[dict[str, Any]]] = {}
        for output in export.outputs:
            for split, counts in output.value["packed"]["shards"].items():
                shards = lists.setdefault(split, [])
                for number, count in enumerate(counts):
                    name = f"{len(shards):06d}.tar"
                    source = output.folder / SHARDS / f"{split}-{number:06d}.tar"
                    export.adopt(source, f"{split}/{name}")
                    size = (export.out / split / name).stat().st_size
                    shards.append({"url": name, "nsamples": count, "filesize": size})
        for split, shards in lists.items():
            index = {
                "name": f"{export.name}-{split}",
                "__kind__": "wids-shard-index-v1",
                "wids_version": 1,
                "shardlist": shards,
            }
            with whole_file(export.out / split / INDEX) as file:
                file.write((json.dumps(index, indent=1) + "\n").encode())


def _groups(samples: Sequence[ExportedSample]) -> Iterator[list[ExportedSample]]:
    """Samples of one shard each."""
    group: list[ExportedSample] = []
    size = 0
    for sample in samples:
        bytes_ = sum(media.bytes for media in sample.media)
        if group and size + bytes_ > MAX_SHARD_BYTES:
            yield group
            group, size = [], 0
        group.append(sample)
        size += bytes_
    if group:
        yield group


def _frame(media: Any) -> dict[str, Any]:
    names = ("camera", "topic", "stamp_ns", "recorded_ns", "frame_id", "copied", "blurred")
    return {name: getattr(media, name) for name in names}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A member that is the same whoever writes it and when."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


FORMAT = WebDataset()
