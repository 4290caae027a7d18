# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot v3.0: videos, frames in parquet, and questions as language events of their frames.

    meta/info.json stats.json tasks.parquet episodes/chunk-000/file-000.parquet
    meta/vqa.jsonl                           the questions once more, for readers without language
    data/chunk-000/file-000.parquet          an episode a file
    videos/observation.images.CAMERA/chunk-000/file-000.mp4

Read in src/lerobot/datasets of huggingface/lerobot. Training episodes come first, so that
info.json's splits are ranges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vila_ros.datasets.records import ExportedSample
from vila_ros.datasets.template import SampleRule
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export, TaskOutput
from vila_ros.datasets.writing.lerobot_tables import (
    ACTION,
    LANGUAGE,
    STAMP,
    STATE,
    camera_feature,
    merged_statistics,
    placed,
    table_statistics,
    task_table,
    write_table,
)
from vila_ros.datasets.writing.lerobot_video import CODEC, PIXELS
from vila_ros.errors import InvalidRequest

VERSION = "v3.0"
CHUNK = 1000
DEFAULT_TASK = "Look at what the cameras see."
_ONE_PICTURE = "LeRobot's questions are about one picture"
_NUMBERS = {"frame_index": "int64", "episode_index": "int64", "index": "int64",
            "task_index": "int64", "timestamp": "float32", STAMP: "int64"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    """An episode as a task left it."""

    output: TaskOutput
    number: int
    about: dict[str, Any]


def file_name(kind: str, number: int, suffix: str) -> str:
    """The place of an episode's file."""
    return f"{kind}/chunk-{number // CHUNK:03d}/file-{number % CHUNK:03d}.{suffix}"


class LeRobot:
    """See Format."""

    clip_folders = False

    def refuses_rule(self, rule: SampleRule) -> str:
        """Several pictures cannot be held."""
        return "" if rule.media == "image" else _ONE_PICTURE

    def refuses(self, sample: ExportedSample) -> str:
        """Several pictures cannot be held."""
        return "" if sample.kind == "image" else _ONE_PICTURE

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """Nothing: a task of this format writes its episodes itself."""
        return {}

    def write(self, export: Export) -> None:
        """Episodes in their places, and what describes them."""
        options = export.options
        sources = [
            _Source(output, number, about)
            for split in ("train", "val")
            for output in export.outputs
            for number, about in enumerate(output.value["episodes"])
            if about["split"] == split
        ]
        if not sources:
            raise InvalidRequest(
                "No recording has a stretch in which every camera and every value of state and "
                "action is there; LeRobot needs them together."
            )
        cameras, fps = _common(sources)
        rows, statistics = [], []
        first = 0
        for number, source in enumerate(sources):
            row, figures = self._episode(export, source, number, first, cameras, fps, options)
            rows.append(row)
            statistics.append(figures)
            first += source.about["length"]
        meta = export.out / "meta"
        self._questions(meta / "vqa.jsonl", sources)
        write_table(meta / "episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
        write_table(meta / "tasks.parquet", task_table([options["task"] or DEFAULT_TASK]))
        _write_json(meta / "stats.json", merged_statistics(statistics))
        train = sum(source.about["split"] == "train" for source in sources)
        info = _info(sources, cameras, fps, options, first)
        info["splits"] = {
            name: span
            for name, span in (("train", f"0:{train}"), ("val", f"{train}:{len(sources)}"))
            if span.split(":")[0] != span.split(":")[1]
        }
        _write_json(meta / "info.json", info)

    def _questions(self, path: Path, sources: Sequence[_Source]) -> None:
        with whole_file(path) as file:
            for number, source in enumerate(sources):
                rows = source.output.folder / f"{source.number}.jsonl"
                with rows.open(encoding="utf-8") as lines:
                    for line in lines:
                        row = {"episode_index": number, **json.loads(line)}
                        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def _episode(
        self,
        export: Export,
        source: _Source,
        number: int,
        first: int,
        cameras: dict[str, list[int]],
        fps: int,
        options: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put an episode in its place; returns its row of meta/episodes, and its statistics."""
        folder, length = source.output.folder, source.about["length"]
        table = placed(pq.read_table(folder / f"{source.number}.parquet"), number, first, 0)
        write_table(export.out / file_name("data", number, "parquet"), table)
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [options["task"] or DEFAULT_TASK],
            "length": length,
            "recording": _recording(source.output),
            "data/chunk_index": number // CHUNK,
            "data/file_index": number % CHUNK,
            "dataset_from_index": first,
            "dataset_to_index": first + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name in cameras:
            key = camera_feature(name)
            export.adopt(
                folder / f"{source.number}-{name}.mp4", file_name(f"videos/{key}", number, "mp4")
            )
            row[f"videos/{key}/chunk_index"] = number // CHUNK
            row[f"videos/{key}/file_index"] = number % CHUNK
            row[f"videos/{key}/from_timestamp"] = 0.0
            row[f"videos/{key}/to_timestamp"] = length / fps
        statistics = {**table_statistics(table), **source.about["pixels"]}
        for feature, figures in statistics.items():
            for figure, value in figures.items():
                row[f"stats/{feature}/{figure}"] = value
        return row, statistics


def _recording(output: TaskOutput) -> str:
    return output.place.split("/")[1]


def _common(sources: Sequence[_Source]) -> tuple[dict[str, list[int]], int]:
    """Cameras with their sizes, and the rate, that all recordings have. Raises InvalidRequest."""
    first = sources[0].output.value
    for source in sources[1:]:
        value = source.output.value
        for what, mine, other in (
            ("cameras of sizes", first["cameras"], value["cameras"]),
            ("frames a second", first["fps"], value["fps"]),
        ):
            if mine != other:
                fix = "set --fps" if what.startswith("frames") else "export them apart"
                raise InvalidRequest(
                    f"'{_recording(sources[0].output)}' has {what} {mine}, "
                    f"'{_recording(source.output)}' has {other}; LeRobot has one for all: {fix}."
                )
    return first["cameras"], first["fps"]


def _info(
    sources: Sequence[_Source],
    cameras: dict[str, list[int]],
    fps: int,
    options: Mapping[str, Any],
    frames: int,
) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for feature, names in ((STATE, options["state"]), (ACTION, options["action"])):
        if names:
            features[feature] = {"dtype": "float32", "shape": [len(names)], "names": list(names)}
    for name, (width, height) in cameras.items():
        features[camera_feature(name)] = {
            "dtype": "video",
            "shape": [height & ~1, width & ~1, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height & ~1,
                "video.width": width & ~1,
                "video.codec": "h264",
                "video.pix_fmt": PIXELS,
                "video.fps": fps,
                "video.channels": 3,
                "video.encoder": CODEC,
                "is_depth_map": False,
                "has_audio": False,
            },
        }
    if options["language"]:
        features[LANGUAGE] = {"dtype": "language", "shape": [1], "names": None}
    for name, kind in _NUMBERS.items():
        features[name] = {"dtype": kind, "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": len(sources),
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as file:
        file.write((json.dumps(value, indent=4) + "\n").encode())


FORMAT = LeRobot()
