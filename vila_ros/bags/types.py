# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a recording is, whatever it was recorded with."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vila_ros.errors import InvalidRequest

_log = logging.getLogger("vila_ros.bags")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of a recording.

    type: "package/msg/Name". count: messages that can be read.
    latched: recorded from transient-local publishers, so late subscribers want the last message.
    """

    type: str
    count: int
    latched: bool = False


@dataclass(frozen=True, slots=True)
class RecordedMessage:
    """A message as it was recorded.

    stamp_ns: when it was received, nanoseconds; the header's stamp is inside data.
    data: CDR with its four bytes of encapsulation header.
    """

    topic: str
    type: str
    stamp_ns: int
    data: bytes


class Recording(Protocol):
    """Messages on disk, read in the order of their stamps without loading them all.

    Nothing stays open between calls; several iterators may be read side by side.
    """

    @property
    def path(self) -> Path:
        """Where it was opened."""

    @property
    def topics(self) -> Mapping[str, Topic]:
        """Topics by name."""

    @property
    def start_ns(self) -> int:
        """Stamp of the first message; 0 without messages."""

    @property
    def end_ns(self) -> int:
        """Stamp of the last message; 0 without messages."""

    @property
    def warnings(self) -> Sequence[str]:
        """What could not be read, and what is not as recorded. May grow while messages are read."""

    def definition(self, message_type: str) -> str:
        """The type's message definition if the recording carries it, else the empty string."""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[RecordedMessage]:
        """Messages with start_ns <= stamp_ns <= end_ns in time order, reached by seeking.

        topics: only these, or all. Raises InvalidRequest for a topic the recording does not have.
        """


def chosen_topics(recording: Recording, topics: Collection[str] | None) -> frozenset[str]:
    """All topics for None, else those named. Raises InvalidRequest for one that is not there."""
    if topics is None:
        return frozenset(recording.topics)
    for name in topics:
        if name not in recording.topics:
            raise InvalidRequest(
                f"'{recording.path}' has no topic '{name}'; it has "
                f"{', '.join(sorted(recording.topics)) or 'none'}."
            )
    return frozenset(topics)


class Warnings(list[str]):
    """A recording's warnings; each is also logged once."""

    def add(self, text: str) -> None:
        """Keep and log a warning that is new."""
        if text not in self:
            self.append(text)
            _log.warning("%s", text)
