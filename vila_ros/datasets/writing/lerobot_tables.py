# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parquet tables of LeRobot v3.0, and the statistics that go with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vila_ros.datasets.whole_file import whole_file

STATE, ACTION, STAMP, LANGUAGE = "observation.state", "action", "stamp_ns", "language_events"
INDEXES = ("frame_index", "episode_index", "index", "task_index")
_JSON = pa.json_() if hasattr(pa, "json_") else pa.string()
EVENT = pa.struct(
    [
        pa.field("role", pa.string(), nullable=False),
        pa.field("content", pa.string()),
        pa.field("style", pa.string()),
        pa.field("camera", pa.string()),
        pa.field("tool_calls", pa.list_(_JSON)),
    ]
)
"""A row of language that belongs to a frame (src/lerobot/datasets/language.py in
huggingface/lerobot)."""


def camera_feature(camera: str) -> str:
    """The name of a camera's feature."""
    return f"observation.images.{camera}"


def frame_table(
    fps: int,
    stamps: Sequence[int],
    vectors: Mapping[str, Sequence[Sequence[float]]],
    events: Sequence[Sequence[Mapping[str, Any]]] | None,
) -> pa.Table:
    """The frames of an episode; indexes count from 0 until the episode has its place.

    stamps: the header's of the first camera's frame. vectors: state and action, a list a frame.
    events: language of each frame, None for no such column. timestamp: frame_index / fps, as in
    the videos.
    """
    count = len(stamps)
    numbers = np.arange(count, dtype=np.int64)
    columns: dict[str, Any] = {name: _vectors(rows) for name, rows in vectors.items()}
    columns[STAMP] = pa.array(stamps, pa.int64())
    columns["timestamp"] = pa.array((numbers / fps).astype(np.float32))
    columns["frame_index"] = pa.array(numbers)
    for name in INDEXES[1:]:
        columns[name] = pa.array(np.zeros(count, np.int64))
    if events is not None:
        columns[LANGUAGE] = _language(events)
    return pa.table(columns)


def _vectors(rows: Sequence[Sequence[float]]) -> pa.Array:
    """Vectors of a fixed length; those of one number are that number, as LeRobot has it."""
    if len(rows[0]) == 1:
        return pa.array(np.array([row[0] for row in rows], np.float32))
    return pa.array(np.array(rows, np.float32).tolist(), pa.list_(pa.float32(), len(rows[0])))


def _language(events: Sequence[Sequence[Mapping[str, Any]]]) -> pa.Array:
    """A list of events a frame; none calls a tool."""
    flat = [event for rows in events for event in rows]
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows in events])])
    texts = [
        pa.array([event[name] for event in flat], pa.string())
        for name in ("role", "content", "style", "camera")
    ]
    tools = pa.nulls(len(flat), EVENT.field("tool_calls").type)
    structs = pa.StructArray.from_arrays([*texts, tools], fields=list(EVENT))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)


def placed(table: pa.Table, episode: int, first: int, task: int) -> pa.Table:
    """An episode's frames with their indexes in the data set."""
    count = len(table)
    values = {
        "episode_index": np.full(count, episode, np.int64),
        "index": np.arange(first, first + count, dtype=np.int64),
        "task_index": np.full(count, task, np.int64),
    }
    for name, value in values.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.array(value))
    return table


def table_statistics(table: pa.Table) -> dict[str, dict[str, Any]]:
    """min, max, mean, std and count of each column of numbers."""
    found = {}
    for name in table.column_names:
        if name == LANGUAGE:
            continue
        values = np.array(table.column(name).to_pylist(), np.float64).reshape(len(table), -1)
        found[name] = {
            "min": values.min(axis=0).tolist(),
            "max": values.max(axis=0).tolist(),
            "mean": values.mean(axis=0).tolist(),
            "std": values.std(axis=0).tolist(),
            "count": [len(values)],
        }
    return found


def merged_statistics(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """The statistics of all episodes together."""
    merged = {}
    for name in parts[0]:
        each = [{key: np.array(value) for key, value in part[name].items()} for part in parts]
        counts = np.array([part["count"][0] for part in each], np.float64)
        weights = counts.reshape(-1, *[1] * each[0]["mean"].ndim) / counts.sum()
        means = np.stack([part["mean"] for part in each])
        mean = (weights * means).sum(axis=0)
        squares = np.stack([part["std"] for part in each]) ** 2 + (means - mean) ** 2
        merged[name] = {
            "min": np.stack([part["min"] for part in each]).min(axis=0).tolist(),
            "max": np.stack([part["max"] for part in each]).max(axis=0).tolist(),
            "mean": mean.tolist(),
            "std": np.sqrt((weights * squares).sum(axis=0)).tolist(),
            "count": [int(counts.sum())],
        }
    return merged


def write_table(path: Path, table: pa.Table) -> None:
    """A parquet file, whole or not there. Raises UnusableFolder."""
    with whole_file(path) as file:
        pq.write_table(table, file, compression="snappy")


def task_table(tasks: Sequence[str]) -> pa.Table:
    """tasks.parquet: task_index by task. LeRobot reads it with pandas, whose index is the task."""
    about = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": kind,
                "numpy_type": storage,
                "metadata": None,
            }
            for name, kind, storage in (
                ("task_index", "int64", "int64"),
                ("task", "unicode", "object"),
            )
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(about)})
