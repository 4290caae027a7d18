# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an export holds, in numbers, counted in one pass over its samples."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from typing import Any

from vila_ros.datasets.records import ExportedSample

ANSWER_LENGTHS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Lower ends of the histogram of answers' lengths, in words."""
_KEPT_VALUES = 20_000
_KEPT_ANSWERS = 2_000  # different ones of a rule
_BINS = 24


class Statistics:
    """Counts samples; memory does not grow with their number."""

    def __init__(self) -> None:
        self._by: dict[str, Counter[tuple[str, str]]] = {
            name: Counter() for name in ("source", "rule", "kind", "recording")
        }
        self._splits: Counter[str] = Counter()
        self._lengths: Counter[int] = Counter()
        self._answers: dict[str, Counter[str]] = {}
        self._questions: Counter[str] = Counter()
        self._values: dict[str, _Reservoir] = {}
        self._pictures: Counter[str] = Counter()
        self._sizes: Counter[str] = Counter()
        self._place = ""
        self._seen: set[str] = set()
        self._left_out: Counter[str] = Counter()
        self._frames = 0

    def add_task(self, value: Mapping[str, Any]) -> None:
        """Count what a task left out."""
        self._left_out.update(value["left_out"])
        self._frames += value["frames"]

    def add(self, sample: ExportedSample) -> None:
        """Count a sample; those of one task follow each other."""
        self._splits[sample.split] += 1
        self._by["source"][sample.source, sample.split] += 1
        self._by["rule"][sample.rule, sample.split] += 1
        self._by["kind"][sample.kind, sample.split] += 1
        self._by["recording"][sample.recording, sample.split] += 1
        for question, answer in sample.pairs():
            words = len(answer.split())
            self._lengths[max(0, bisect_right(ANSWER_LENGTHS, words) - 1)] += 1
            answers = self._answers.setdefault(sample.rule, Counter())
            if answer in answers or len(answers) < _KEPT_ANSWERS:
                answers[answer] += 1
            if question in self._questions or len(self._questions) < _KEPT_ANSWERS:
                self._questions[question] += 1
        for name, value in sample.values.items():
            if not isinstance(value, str):
                self._values.setdefault(name, _Reservoir(name)).add(float(value))
        place = sample.media[0].file.rsplit("/", 2)[0]
        if place != self._place:
            self._place = place
            self._seen.clear()
        for media in sample.media:
            if media.file in self._seen:
                continue
            self._seen.add(media.file)
            self._pictures["files"] += 1
            self._pictures["bytes"] += media.bytes
            self._pictures["blurred"] += media.blurred
            self._pictures["copied" if media.copied else "encoded"] += 1
            self._sizes[f"{media.width}x{media.height}"] += 1

    def summary(self) -> dict[str, Any]:
        """All counts as plain values, the same for the same samples."""
        return {
            "samples": {
                "total": self._splits.total(),
                "train": self._splits["train"],
                "val": self._splits["val"],
            },
            "pictures": {
                name: self._pictures[name]
                for name in ("files", "bytes", "copied", "encoded", "blurred")
            },
            "frames_seen": self._frames,
            "sizes": dict(self._sizes.most_common()),
            **{f"by_{name}": _table(counts) for name, counts in self._by.items()},
            "answer_words": {
                "from": list(ANSWER_LENGTHS),
                "count": [self._lengths[index] for index in range(len(ANSWER_LENGTHS))],
            },
            "answers": {
                rule: {"different": len(counts), "most_common": counts.most_common(12)}
                for rule, counts in sorted(self._answers.items())
            },
            "questions": {
                "different": len(self._questions),
                "most_common": self._questions.most_common(12),
            },
            "values": {name: kept.summary() for name, kept in sorted(self._values.items())},
            "left_out": dict(self._left_out.most_common()),
        }


class _Reservoir:
    """A sample of numbers that are too many to keep (Vitter's algorithm R), and their extremes."""

    def __init__(self, name: str) -> None:
        self._chance = random.Random(name)  # noqa: S311
        self._kept: list[float] = []
        self._count, self._sum = 0, 0.0
        self._low, self._high = float("inf"), float("-inf")

    def add(self, value: float) -> None:
        self._count += 1
        self._sum += value
        self._low, self._high = min(self._low, value), max(self._high, value)
        if len(self._kept) < _KEPT_VALUES:
            self._kept.append(value)
        elif (place := self._chance.randrange(self._count)) < _KEPT_VALUES:
            self._kept[place] = value

    def summary(self) -> dict[str, Any]:
        width = (self._high - self._low) / _BINS
        bins = [0] * (_BINS if width else 1)
        for value in self._kept:
            place = int((value - self._low) / width) if width else 0
            bins[min(place, len(bins) - 1)] += 1
        return {
            "count": self._count,
            "mean": self._sum / self._count,
            "low": self._low,
            "high": self._high,
            "histogram": bins,
        }


def _table(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    names = sorted({name for name, _ in counts})
    return {name: {"train": counts[name, "train"], "val": counts[name, "val"]} for name in names}
