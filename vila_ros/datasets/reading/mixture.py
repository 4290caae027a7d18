# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mixtures: which files, how often, in which order.

A mixture is names joined by `+`, each a file, a dataset of the registry or another mixture of it:
`drive.json+captions*2+flan*0.1`. A factor repeats a dataset; its fraction takes a part of it, drawn
by the seed. The registry is a YAML file as upstream's (llava/data/registry in NVlabs/VILA):

    drives:                         a dataset
      data_path: drives/train.json  relative to the YAML file
      media_dir: drives/media
      is_video: false
    driving: [drives*2, captions]   a mixture
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vila_ros.datasets.reading.records import InvalidSample, RecordFile
from vila_ros.datasets.reading.vila_json import MediaFolder, read_sample
from vila_ros.datasets.types import Sample
from vila_ros.errors import InvalidRequest

MAX_DEPTH = 16
MAX_FACTOR = 1000.0
# Upstream's classes whose rules are those of read_sample.
TARGETS = ("LLaVADataset", "LLaVANextDataset", "")


@dataclass(frozen=True)
class DatasetEntry:
    """One dataset. media: its folder of media; None is the file's own. factor: how often it is
    read. frames: taken of each clip."""

    name: str
    path: Path
    media: Path | None = None
    factor: float = 1.0
    frames: int = 8


@dataclass(frozen=True)
class Registry:
    """Datasets and mixtures by name."""

    datasets: Mapping[str, DatasetEntry] = field(default_factory=dict)
    mixtures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_registry(path: Path) -> Registry:
    """Read a YAML registry. Raises InvalidRequest naming the entry that is wrong."""
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidRequest(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(raw, dict):
        raise InvalidRequest(f"{path}: expected names of datasets and mixtures")
    datasets, mixtures = {}, {}
    for key, value in raw.items():
        name = str(key)
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            mixtures[name] = tuple(value)
        elif isinstance(value, dict):
            datasets[name] = _entry(name, value, path)
        else:
            raise InvalidRequest(
                f"{path}: {name} is neither a dataset (data_path: …) nor a list of names"
            )
    return Registry(datasets, mixtures)


def parse_mixture(
    text: str,
    registry: Registry | None = None,
    media: Path | None = None,
    frames: int = 8,
) -> tuple[DatasetEntry, ...]:
    """The datasets of a mixture, each with its factor, in the order they are named.

    media, frames: for files that are named directly. Raises InvalidRequest.
    """
    found = list(_named(text, registry or Registry(), media, frames, 1.0, ()))
    if not found:
        raise InvalidRequest(f"mixture {text!r} names no dataset")
    return tuple(found)


class Dataset:
    """The samples of one file. Indices count its records."""

    def __init__(self, entry: DatasetEntry):
        self.entry = entry
        self._records = RecordFile(entry.path)
        media = entry.media if entry.media is not None else entry.path.parent
        if not media.is_dir():
            raise InvalidRequest(f"{entry.name}: the media folder {media} is not there")
        self._media = MediaFolder(media, entry.frames)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def broken(self) -> tuple[InvalidSample, ...]:
        """Places in the file where no record can be found."""
        return self._records.broken

    def origin(self, index: int) -> str:
        """Where a sample stands: "file:line"."""
        return self._records.origin(index)

    def sample(self, index: int) -> Sample:
        """A sample. Raises InvalidSample."""
        return read_sample(self._records.read(index), self._media, self.origin(index))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Datasets blended. kept: for each dataset the indices that are used, ascending.

    An item is (dataset, index). A dataset of factor 2.5 is read twice whole, and half of it, drawn
    by the seed, once more.
    """

    datasets: tuple[Dataset, ...]
    kept: tuple[NDArray[np.int64], ...]

    @classmethod
    def open(cls, entries: Sequence[DatasetEntry]) -> Mixture:
        """All samples of the datasets."""
        datasets = tuple(map(Dataset, entries))
        return cls(datasets, tuple(np.arange(len(d), dtype=np.int64) for d in datasets))

    def without(self, refused: Mapping[int, Sequence[int]]) -> Mixture:
        """Without some samples: indices by dataset."""
        kept = tuple(
            indices[~np.isin(indices, np.array(list(refused.get(number, ())), np.int64))]
            for number, indices in enumerate(self.kept)
        )
        return replace(self, kept=kept)

    def split(self, part: float) -> tuple[Mixture, Mixture]:
        """To train on, and the last part of every file to score on.

        The end, not a draw: neighbours in a recording look alike, and a draw would put the same
        scene on both sides.
        """
        ends = [len(indices) - round(len(indices) * part) for indices in self.kept]
        return (
            replace(self, kept=tuple(k[:end] for k, end in zip(self.kept, ends, strict=True))),
            replace(self, kept=tuple(k[end:] for k, end in zip(self.kept, ends, strict=True))),
        )

    def items(self, seed: int) -> NDArray[np.int64]:
        """One pass in order: int64 [n, 2] of (dataset, index), repeats and parts included."""
        parts = []
        for number, (dataset, indices) in enumerate(zip(self.datasets, self.kept, strict=True)):
            whole, fraction = divmod(dataset.entry.factor, 1.0)
            drawn = np.random.default_rng([seed, number]).permutation(indices)
            some = np.sort(drawn[: round(fraction * len(indices))])
            chosen = np.concatenate([*[indices] * int(whole), some]).astype(np.int64)
            parts.append(np.stack([np.full(len(chosen), number, np.int64), chosen], axis=1))
        return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)

    def sample(self, item: Sequence[int] | NDArray[np.int64]) -> Sample:
        """The sample of an item."""
        return self.datasets[int(item[0])].sample(int(item[1]))


def _named(
    text: str,
    registry: Registry,
    media: Path | None,
    frames: int,
    factor: float,
    inside: tuple[str, ...],
) -> Iterator[DatasetEntry]:
    for part in (piece.strip() for piece in text.split("+")):
        name, times = _factor(part)
        if name in inside or len(inside) > MAX_DEPTH:
            raise InvalidRequest(f"mixture {name!r} holds itself: {' > '.join((*inside, name))}")
        if name in registry.mixtures:
            for member in registry.mixtures[name]:
                yield from _named(member, registry, media, frames, factor * times, (*inside, name))
        elif name in registry.datasets:
            entry = registry.datasets[name]
            yield replace(entry, factor=factor * times)
        elif Path(name).expanduser().is_file():
            path = Path(name).expanduser()
            yield DatasetEntry(path.stem, path, media, factor * times, frames)
        else:
            known = ", ".join([*registry.datasets, *registry.mixtures]) or "none registered"
            raise InvalidRequest(f"dataset {name!r} is neither a file nor known ({known})")


def _factor(part: str) -> tuple[str, float]:
    name, star, times = part.rpartition("*")
    if not star:
        return part, 1.0
    try:
        factor = float(times)
    except ValueError:
        factor = -1.0
    if not 0.0 < factor <= MAX_FACTOR:
        raise InvalidRequest(
            f"{part!r}: the factor behind * is {times!r}, expected a number above 0, at most "
            f"{MAX_FACTOR:g}"
        )
    return name.strip(), factor


def _entry(name: str, value: Mapping[str, Any], registry: Path) -> DatasetEntry:
    target = str(value.get("_target_", "")).rsplit(".", 1)[-1]
    if target not in TARGETS:
        raise InvalidRequest(
            f"{registry}: {name} is a {target}; known are {', '.join(filter(None, TARGETS))}"
        )
    if not isinstance(value.get("data_path"), str):
        raise InvalidRequest(f"{registry}: {name} has no data_path")
    folder = value.get("media_dir")
    frames = value.get("num_video_frames", 8)
    if isinstance(frames, bool) or not isinstance(frames, int) or not 1 <= frames <= 1024:
        raise InvalidRequest(f"{registry}: {name}: num_video_frames is {frames!r}, from 1 to 1024")
    base = Path(os.path.abspath(registry)).parent
    return DatasetEntry(
        name,
        base / os.path.expanduser(value["data_path"]),
        None if folder is None else base / os.path.expanduser(str(folder)),
        frames=frames,
    )
