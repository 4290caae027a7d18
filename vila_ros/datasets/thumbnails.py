# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few samples of each task with small pictures, for the page that shows what was exported."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vila_ros.datasets.records import Clip, ExportedSample, MediaFile, Part

FILE = "preview.jsonl"
A_TASK = 24
"""Samples of a task that are kept for the page."""
_SIDE = 320
_QUALITY = 70
_PICTURES = 8  # of a sample
_REDUCED = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)


def choose(samples: Sequence[ExportedSample]) -> list[ExportedSample]:
    """Samples for the page, spread over a task's and its rules."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault((sample.split, sample.rule), []).append(index)
    share = max(1, A_TASK // max(1, len(groups)))
    places = sorted(index for group in groups.values() for index in spread(group, share))
    return [samples[index] for index in places[:A_TASK]]


def write_thumbnails(
    folder: Path, chosen: Sequence[ExportedSample], picture_of: Callable[[MediaFile], str]
) -> None:
    """preview.jsonl: samples with their pictures as data URLs, which picture_of gives;
    "" says that there is none."""
    with (folder / FILE).open("w", encoding="utf-8") as file:
        for sample in chosen:
            file.write(json.dumps(_row(sample, picture_of), ensure_ascii=False) + "\n")


def spread(samples: Sequence[Any], count: int) -> list[Any]:
    """At most `count` elements, evenly from the first to the last."""
    if len(samples) <= count:
        return list(samples)
    places = np.linspace(0, len(samples) - 1, count).round().astype(int)
    return [samples[place] for place in places]


def _row(sample: ExportedSample, picture_of: Callable[[MediaFile], str]) -> dict[str, Any]:
    order = []
    for turn in sample.turns:
        for part in turn.parts:
            order += list(part.frames) if isinstance(part, Clip) else (
                [part] if isinstance(part, int) else []
            )  # fmt: skip
    pictures = [picture_of(sample.media[index]) for index in spread(order, _PICTURES)]
    return {
        "id": sample.id,
        "split": sample.split,
        "source": sample.source,
        "rule": sample.rule,
        "kind": sample.kind,
        "recording": sample.recording,
        "turns": [[turn.role, _text(turn.parts, len(order))] for turn in sample.turns],
        "frames": [
            {
                "camera": media.camera,
                "topic": media.topic,
                "stamp_ns": str(media.stamp_ns),
                "size": f"{media.width}x{media.height}",
                "file": media.file,
                "copied": media.copied,
                "blurred": media.blurred,
            }
            for media in spread([sample.media[index] for index in order], _PICTURES)
        ],
        "count": len(order),
        "values": dict(sample.values),
        "provenance": dict(sample.provenance),
        "annotated": sample.annotation is not None,
        "pictures": pictures,
    }


def _text(parts: Sequence[Part], pictures: int) -> str:
    """A turn with marks where its pictures stand, if there are several."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, int) and pictures > 1:
            text += f"[{part + 1}]"
    return text.strip()


def data_url(path: Path, width: int) -> str:
    """A small JPEG of a picture file; a large JPEG is decoded at a part of its width, in pixels.

    "" for a file that cannot be decoded: files are copied without looking at their pixels.
    """
    mode = next((mode for part, mode in _REDUCED if width // part >= _SIDE), cv2.IMREAD_COLOR)
    picture = cv2.imread(str(path), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    return "" if picture is None else thumbnail_url(picture)


def thumbnail_url(picture: np.ndarray) -> str:
    """A small JPEG of a picture, uint8 BGR [H, W, 3]."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
