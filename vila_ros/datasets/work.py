# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker does for one task of an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vila_ros.datasets.records import MediaFile
from vila_ros.datasets.slice_export import export_slice, slice_from_json
from vila_ros.datasets.thumbnails import choose, data_url, write_thumbnails
from vila_ros.datasets.writing.formats import format_of
from vila_ros.fleet.types import Task


def export_task(task: Task, folder: Path) -> dict[str, Any]:
    """Do a task of plan_export() into its empty folder; returns what the export needs to know.

    Raises InvalidRequest, InvalidRecording, BlurFailed and ExportFailed.
    """
    part = slice_from_json(task.arguments["slice"])
    name = task.arguments["format"]
    writer = format_of(name)
    if name == "lerobot":
        from vila_ros.datasets.writing.lerobot_episodes import export_episodes

        return export_episodes(part, task.arguments["lerobot"], folder)
    samples, value = export_slice(part, folder, writer.refuses)

    def picture_of(media: MediaFile) -> str:
        path = folder / "media" / Path(media.file).relative_to(part.place)
        return data_url(path, media.width)

    write_thumbnails(folder, choose(samples), picture_of)
    value["packed"] = writer.pack(folder, samples, part.place)
    return value
