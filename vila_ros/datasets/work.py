# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a worker does for one task of an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vila_ros.datasets.records import read_samples, write_samples
from vila_ros.datasets.slice_export import SAMPLES, export_slice, slice_from_json
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
    value = export_slice(part, folder)
    samples = list(read_samples(folder / SAMPLES))
    kept = [sample for sample in samples if not writer.refuses(sample)]
    if len(kept) < len(samples):
        for sample in samples:
            if why := writer.refuses(sample):
                value["left_out"][why] = value["left_out"].get(why, 0) + 1
        write_samples(folder / SAMPLES, kept)
        value["samples"] = len(kept)
    write_thumbnails(
        folder,
        choose(kept),
        lambda media: data_url(folder / "media" / Path(media.file).relative_to(part.place)),
    )
    value["packed"] = writer.pack(folder, kept, part.place)
    return value
