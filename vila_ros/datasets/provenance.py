# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where every sample comes from, a line of JSON each; a task writes its own samples' lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vila_ros.datasets.records import ExportedSample, media_to_json

PROVENANCE = "provenance.jsonl"
"""The file's name, in a task's folder and in the export's."""
_encode = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one a line


def write_provenance(folder: Path, samples: Iterable[ExportedSample]) -> None:
    """A task's lines, in its folder. Raises OSError."""
    with (folder / PROVENANCE).open("w", encoding="utf-8") as file:
        file.writelines(_encode(_provenance(sample)) + "\n" for sample in samples)


def _provenance(sample: ExportedSample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "split": sample.split,
        "source": sample.source,
        "rule": sample.rule,
        "recording": sample.recording,
        "media": [media_to_json(media) for media in sample.media],
        "values": dict(sample.values),
        **sample.provenance,
    }
