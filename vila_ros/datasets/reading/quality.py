# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is not worth learning from: filters over samples.

Data quality beats quantity (arXiv:2312.07533, section 4). A filter gives the reason to leave a
sample out, or "" to keep it; any function of a sample will do.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from vila_ros.datasets.types import Sample
from vila_ros.errors import InvalidRequest

QualityFilter = Callable[[Sample], str]


@dataclass(frozen=True)
class TextLength:
    """Answers, or a document's text, of least to most characters in all."""

    least: int = 1
    most: int = 100_000

    def __call__(self, sample: Sample) -> str:
        """See QualityFilter."""
        length = sum(map(len, learnt_texts(sample)))
        if length < self.least:
            return f"{length} characters to learn, at least {self.least} are asked"
        if length > self.most:
            return f"{length} characters to learn, at most {self.most} are asked"
        return ""


@dataclass(frozen=True)
class Repetition:
    """No text whose words are mostly the same few: among 8 words and more, at least this part
    differs."""

    least_distinct: float = 0.2

    def __call__(self, sample: Sample) -> str:
        """See QualityFilter."""
        for text in learnt_texts(sample):
            words = text.lower().split()
            if len(words) >= 8 and len(set(words)) < self.least_distinct * len(words):
                return f"{len(set(words))} different words of {len(words)}"
        return ""


def learnt_texts(sample: Sample) -> list[str]:
    """The texts of a sample that are learnt."""
    return [
        part
        for turn in sample.turns
        if turn.role in ("assistant", "text")
        for part in turn.parts
        if isinstance(part, str)
    ]


def load_filter(name: str) -> QualityFilter:
    """A filter of the user's own, by "module:function". The module is imported, so its code runs.

    Raises InvalidRequest where there is none.
    """
    module, colon, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function) if colon else None
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequest(f"filter {name!r}: {error}") from None
    if not callable(found):
        raise InvalidRequest(
            f"filter {name!r} is no function; name it as module:function, for example "
            "my_filters:keep_daylight"
        )
    return found
