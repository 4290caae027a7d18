# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is true at a moment, from a topic of the recording."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from vila_ros.bags.serialization import deserialize, standard_types, typestore_with
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.plan import AskPlan, TopicValue
from vila_ros.evaluation.value_path import ValuePath


class TruthReader:
    """The values of a topic over a plan's slice, the nearest to a moment.

    Raises InvalidRequest, beginning with the truth's origin, where the recording lacks the topic.
    """

    def __init__(self, recording: Recording, truth: TopicValue, plan: AskPlan) -> None:
        self._truth = truth
        self._path = ValuePath(truth.path)
        if truth.topic not in recording.topics:
            raise self._wrong(
                f"'{recording.path}' has no topic '{truth.topic}'; it has "
                f"{', '.join(sorted(recording.topics))}"
            )
        kind = recording.topics[truth.topic].type
        definition = recording.definition(kind)
        known = kind in standard_types().types
        self._store = standard_types() if known else typestore_with({kind: definition})
        age_ns = round(truth.max_age * 1e9)
        self._messages = recording.messages(
            [truth.topic], plan.start_ns - age_ns, plan.end_ns + age_ns
        )
        self._age_ns = age_ns
        self._stamps: list[int] = []
        self._values: list[Any] = []
        self._ended = False

    def at(self, stamp_ns: int) -> tuple[bool, Any]:
        """Whether a message is near enough, and what it says. Moments may come in any order."""
        self._read_until(stamp_ns)
        index = bisect_left(self._stamps, stamp_ns)
        near = [
            (abs(self._stamps[each] - stamp_ns), each)
            for each in (index - 1, index)
            if 0 <= each < len(self._stamps)
        ]
        if not near or min(near)[0] > self._age_ns:
            return False, None
        return True, self._values[min(near)[1]]

    def _read_until(self, stamp_ns: int) -> None:
        """Read on until a message after the moment is there, or there is none."""
        while not self._ended and (not self._stamps or self._stamps[-1] < stamp_ns):
            message = next(self._messages, None)
            if message is None:
                self._ended = True
                return
            try:
                value = self._path.of(deserialize(message, self._store))
            except InvalidRequest as error:
                raise self._wrong(error.message) from None
            self._stamps.append(message.stamp_ns)
            self._values.append(value)

    def _wrong(self, why: str) -> InvalidRequest:
        return InvalidRequest(f"{self._truth.origin}: {why}" if self._truth.origin else why)
