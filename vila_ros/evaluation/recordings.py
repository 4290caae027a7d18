# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Several recordings together: their names, and whether they tell of the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from vila_ros.errors import InvalidRequest

_SUFFIXES = (".tar.gz", ".tgz", ".tar", ".mcap", ".db3", ".zstd", ".zst")


def named_recordings(paths: Sequence[Path]) -> dict[str, Path]:
    """Recordings by names that are file names and differ: their own, with a number where needed.

    Raises InvalidRequest for a recording that is given twice.
    """
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise InvalidRequest(f"'{path}' is given twice; its answers would count twice.")
        seen[real] = path
    plain = [_plain_name(path) for path in paths]
    named: dict[str, Path] = {}
    for name, path in zip(plain, paths, strict=True):
        unique, number = name, 2
        while unique in named or (number > 2 and unique in plain):
            unique, number = f"{name}_{number}", number + 1
        named[unique] = path
    return named


def overlaps(spans: Mapping[str, tuple[int, int]]) -> list[str]:
    """A line for each pair of recordings that tell of the same time, nanoseconds both ends.

    Made-up times, which begin at one second for every recording, do not count.
    """
    real = {name: span for name, span in spans.items() if span[0] > 1_000_000_000_000_000}
    ordered = sorted(real.items(), key=lambda item: (item[1], item[0]))
    lines = []
    for (first, (_, end)), (second, (start, last)) in pairwise(ordered):
        if start <= end:
            common = (min(end, last) - start) / 1e9
            lines.append(
                f"{first} and {second} tell of the same {common:.1f} s; if they are of one robot, "
                "these count twice"
            )
    return lines


def _plain_name(path: Path) -> str:
    name = path.resolve().name
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    kept = "".join(each if each.isalnum() or each in "._-" else "_" for each in name)
    return kept.strip("._-")[:80] or "recording"
