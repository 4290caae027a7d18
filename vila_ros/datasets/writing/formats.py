# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a format is to the export, and which there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vila_ros.datasets.records import ExportedSample
from vila_ros.datasets.template import SampleRule
from vila_ros.errors import InvalidRequest, Unsupported

FORMATS = ("vila", "webdataset", "coda_lm", "drivelm", "lerobot")


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """What a task left: its folder, the place of its media in the export, and what it returned."""

    folder: Path
    place: str
    value: Any


@dataclass(frozen=True, slots=True)
class Export:
    """What a format writes from.

    out: the export's folder, where media lie already. name: of the data set.
    samples: all that the format takes, in order, read from disk at each call.
    adopt: moves a task's file or folder to a place in the export, if it was not moved before.
    options: of the format.
    """

    out: Path
    name: str
    samples: Callable[[], Iterator[ExportedSample]]
    outputs: Sequence[TaskOutput]
    adopt: Callable[[Path, str], None]
    options: Mapping[str, Any]


class Format(Protocol):
    """A format of training data."""

    clip_folders: bool
    """Whether clips need folders with their frames."""

    def refuses_rule(self, rule: SampleRule) -> str:
        """Why a template's rule cannot be held, or the empty string."""

    def refuses(self, sample: ExportedSample) -> str:
        """Why a sample cannot be held, or the empty string."""

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """A task's part of the format, in its folder; returns what write() needs to know of it."""

    def write(self, export: Export) -> None:
        """The format's files. The same for the same samples; may be repeated after a crash."""


def format_of(name: str) -> Format:
    """A format by its name. Raises InvalidRequest for one that is not known, Unsupported for one
    whose libraries are not installed."""
    if name not in FORMATS:
        raise InvalidRequest(f"The format '{name}' is not one of {', '.join(FORMATS)}.")
    modules = {"vila": "vila_json"}
    try:
        module = importlib.import_module(f"vila_ros.datasets.writing.{modules.get(name, name)}")
    except ModuleNotFoundError as error:
        raise Unsupported(
            f"The format '{name}' needs {error.name}, which is not installed: "
            f"pip install {error.name}"
        ) from error
    found: Format = module.FORMAT
    return found
