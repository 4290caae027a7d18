# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole mixture looked through before anything is trained.

Whatever could stop training at step 9,000 is found at step 0: every record is read, every picture
decoded, every clip opened. Each complaint names file and line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from vila_ros.datasets.reading.mixture import Mixture
from vila_ros.datasets.reading.pictures import read_clip, read_picture
from vila_ros.datasets.reading.quality import QualityFilter
from vila_ros.datasets.reading.records import InvalidSample
from vila_ros.datasets.types import ClipSource, ImageSource, Sample
from vila_ros.errors import InvalidImage, VilaError

CHUNK = 256
"""Samples that are looked at together."""


@dataclass(frozen=True)
class Issue:
    """What is wrong with a sample. origin: "file:line". kind: a few words, for counting."""

    origin: str
    kind: str
    message: str


@dataclass(frozen=True, eq=False)
class CheckReport:
    """samples: records looked at. issues: what is broken. filtered: what a filter left out.

    refused: for each dataset the indices of both.
    """

    samples: int
    issues: tuple[Issue, ...]
    filtered: tuple[Issue, ...]
    refused: Mapping[int, tuple[int, ...]]

    @property
    def counts(self) -> Mapping[str, int]:
        """Issues by kind, the most frequent first."""
        return dict(Counter(issue.kind for issue in self.issues).most_common())


def check_mixture(
    mixture: Mixture,
    filters: Sequence[QualityFilter] = (),
    encode: Callable[[Sample], object] | None = None,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look through all samples of a mixture; one that stands in several datasets each time.

    encode: what training does with a sample first; its errors are issues as well. progress: called
    with samples done and their number.
    """
    issues = [_issue(broken) for dataset in mixture.datasets for broken in dataset.broken]
    filtered: list[Issue] = []
    refused: dict[int, list[int]] = {}
    total = sum(map(len, mixture.kept))
    done = 0

    # Tokenizers are not made for several threads at once.
    one_at_a_time = Lock()

    def encode_alone(sample: Sample) -> None:
        if encode is not None:
            with one_at_a_time:
                encode(sample)

    def look(item: tuple[int, int]) -> tuple[Issue | None, bool]:
        return _look(mixture, item, filters, encode_alone)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for chunk in _chunks(_items(mixture)):
            for item, (issue, is_filtered) in zip(chunk, pool.map(look, chunk), strict=True):
                if issue is not None:
                    (filtered if is_filtered else issues).append(issue)
                    refused.setdefault(item[0], []).append(item[1])
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    return CheckReport(
        total, tuple(issues), tuple(filtered), {k: tuple(v) for k, v in refused.items()}
    )


def _items(mixture: Mixture) -> Iterator[tuple[int, int]]:
    for number, indices in enumerate(mixture.kept):
        yield from ((number, int(index)) for index in indices)


def _chunks(items: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    chunk: list[tuple[int, int]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _look(
    mixture: Mixture,
    item: tuple[int, int],
    filters: Sequence[QualityFilter],
    encode: Callable[[Sample], None],
) -> tuple[Issue | None, bool]:
    """What is wrong with a sample, and whether it is a filter's reason."""
    origin = mixture.datasets[item[0]].origin(item[1])
    try:
        sample = mixture.sample(item)
        for quality in filters:
            reason = quality(sample)
            if reason:
                return Issue(origin, "filtered", reason), True
        for medium in _media(sample):
            if isinstance(medium, ClipSource):
                read_clip(medium)
            else:
                read_picture(medium)
        encode(sample)
    except InvalidSample as error:
        return _issue(error), False
    except InvalidImage as error:
        missing = "no such file" in error.message
        kind = "missing media" if missing else "unreadable media"
        return Issue(origin, kind, error.message), False
    except VilaError as error:
        message = error.message.removeprefix(f"{origin}: ")
        return Issue(origin, "cannot be encoded", message), False
    return None, False


def _media(sample: Sample) -> Iterator[ImageSource | ClipSource]:
    for turn in sample.turns:
        for part in turn.parts:
            if not isinstance(part, str):
                yield part


def _issue(error: InvalidSample) -> Issue:
    return Issue(error.origin, error.kind, error.message.removeprefix(f"{error.origin}: "))
