# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""preview.html: a page that shows what was exported, to look at before training on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vila_ros.datasets.preview_page import PAGE
from vila_ros.datasets.thumbnails import FILE, spread
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import TaskOutput

SHOWN = 96
"""Samples on the page, from all tasks."""


def write_preview(
    path: Path, name: str, summary: Mapping[str, Any], outputs: Sequence[TaskOutput]
) -> None:
    """The page, with everything in it. Raises UnusableFolder."""
    samples = _chosen(outputs)
    data = json.dumps(
        {"name": name, "summary": summary, "samples": samples}, ensure_ascii=False
    ).replace("</", "<\\/")  # the page's script must not end inside of a text
    with whole_file(path) as file:
        file.write(PAGE.replace("__DATA__", data.replace("\u2028", "\\u2028")).encode())


def _chosen(outputs: Sequence[TaskOutput]) -> list[dict[str, Any]]:
    """Samples of as many tasks as there is room for, as many of each rule as possible."""
    rows: list[dict[str, Any]] = []
    for output in spread(outputs, SHOWN):
        with (output.folder / FILE).open(encoding="utf-8") as file:
            rows += [json.loads(line) for line in file]
    if len(rows) <= SHOWN:
        return rows
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row["split"], row["rule"]), []).append(index)
    share = max(1, SHOWN // len(groups))
    kept = sorted(index for group in groups.values() for index in spread(group, share))
    return [rows[index] for index in kept[:SHOWN]]
