# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers and words from a recording's topics at the time of a frame."""

from __future__ import annotations

import json
import re
import sys
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

from rosbags.typesys.store import Typestore

from vila_ros.bags.recording import RecordedMessage, Recording
from vila_ros.bags.serialization import deserialize, standard_types, typestore_with
from vila_ros.errors import InvalidRecording, InvalidRequest

Value = float | int | str | bool
MATCHES = ("nearest", "linear", "last")
_STEP = re.compile(r"([A-Za-z_]\w*)|\[(\d+)\]|\.")


@dataclass(frozen=True, slots=True)
class ValueRule:
    """Where a value comes from and how it is matched to a frame's stamp.

    topic, or type (the recording's only topic of it): one of the two. field: a path such as
    "twist.twist.linear.x", "axes[0]" or, into JSON in a string, "data.speed".
    match: nearest, linear (between neighbours) or last (before the frame).
    max_gap: seconds from the frame to the message, to both of them for linear.
    """

    name: str
    topic: str = ""
    type: str = ""
    field: str = "data"
    match: str = "nearest"
    max_gap: float = 0.5


def topic_of(rule: ValueRule, recording: Recording) -> str:
    """The topic that a rule means in a recording. Raises InvalidRequest if there is none."""
    if rule.topic:
        if rule.topic in recording.topics:
            return rule.topic
        raise InvalidRequest(
            f"The value '{rule.name}' is read from '{rule.topic}', which '{recording.path}' does "
            f"not have; it has {', '.join(sorted(recording.topics)) or 'no topic'}."
        )
    found = sorted(name for name, topic in recording.topics.items() if topic.type == rule.type)
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} topics of it ({', '.join(found)}); name one" if found else "none of it"
    raise InvalidRequest(
        f"The value '{rule.name}' is read from the type {rule.type}; '{recording.path}' "
        f"has {which}."
    )


def read_field(message: Any, path: str) -> Any:
    """The field of a message object; strings that hold JSON are entered.

    Raises LookupError or ValueError where the path does not exist.
    """
    value, position = message, 0
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ValueError(f"'{path}' is no path of fields")
        position = step.end()
        name, index = step.groups()
        if name is None and index is None:
            continue
        if isinstance(value, str):
            value = json.loads(value)
        if index is not None:
            value = value[int(index)]
        elif isinstance(value, dict):
            value = value[name]
        elif hasattr(value, name):
            value = getattr(value, name)
        else:
            raise LookupError(f"{type(value).__name__} has no field '{name}'")
    return value


@dataclass(slots=True)
class _Series:
    """A value's course: times of reception, header stamps (0 without header), and values."""

    received: list[int] = field(default_factory=list)
    stamped: list[int] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    has_header: bool = True


class TopicValues:
    """The values of a stretch of a recording. Messages are added in order of their reception."""

    def __init__(self, rules: tuple[ValueRule, ...], recording: Recording) -> None:
        """Raises InvalidRequest if the recording lacks a rule's topic, or its type is unknown."""
        self._rules = {rule.name: rule for rule in rules}
        self._by_topic: dict[str, list[ValueRule]] = {}
        for rule in rules:
            self._by_topic.setdefault(topic_of(rule, recording), []).append(rule)
        self._series = {rule.name: _Series() for rule in rules}
        # Loading all types takes a quarter of a second, which is of no use without values.
        self._store = _typestore(recording, set(self._by_topic)) if rules else None
        self.unreadable = 0

    @property
    def topics(self) -> frozenset[str]:
        """The topics whose messages are wanted."""
        return frozenset(self._by_topic)

    def add(self, message: RecordedMessage) -> None:
        """Take up a message. Raises InvalidRequest if a rule's field is not in it."""
        rules = self._by_topic.get(message.topic, ())
        try:
            content = deserialize(message, self._store)
        except InvalidRecording:
            self.unreadable += 1
            return
        header = getattr(content, "header", None)
        stamp = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec if header else 0
        for rule in rules:
            try:
                value = read_field(content, rule.field)
            except (LookupError, ValueError, TypeError) as error:
                raise InvalidRequest(
                    f"The value '{rule.name}': {message.topic} ({message.type}) has no field "
                    f"'{rule.field}': {error}."
                ) from error
            if not isinstance(value, bool | int | float | str):
                value = _plain(rule, value)
            series = self._series[rule.name]
            in_order = not series.stamped or stamp > series.stamped[-1]
            # Stamps that stand still or go back cannot be searched: times of reception are taken.
            series.has_header = series.has_header and stamp > 0 and in_order
            series.received.append(message.stamp_ns)
            series.stamped.append(stamp)
            series.values.append(value)

    def at(self, name: str, stamp_ns: int, received_ns: int) -> Value | None:
        """The value at a frame; None where no message is near enough.

        stamp_ns: of the frame's header, compared with the message's if it has one; received_ns is
        compared with the time of reception if it has none.
        """
        rule, series = self._rules[name], self._series[name]
        by_header = series.has_header and stamp_ns > 0
        times = series.stamped if by_header else series.received
        return _matched(times, series.values, stamp_ns if by_header else received_ns, rule)


def is_finite(value: Value) -> bool:
    """Whether a value is text or a number that JSON and statistics can hold.

    Range sensors report inf for "nothing in reach" and NaN for "not measured".
    """
    # A comparison, as math.isfinite raises for whole numbers that are larger than any float.
    return isinstance(value, str) or abs(value) <= sys.float_info.max


def _matched(times: list[int], values: list[Value], at: int, rule: ValueRule) -> Value | None:
    limit = round(rule.max_gap * 1e9)
    after = bisect_right(times, at)
    before = after - 1
    near_before = before >= 0 and at - times[before] <= limit
    near_after = after < len(times) and times[after] - at <= limit
    if rule.match == "last" or (before >= 0 and times[before] == at):
        return values[before] if near_before else None
    if rule.match == "linear":
        if not (near_before and near_after):
            return None
        low, high = values[before], values[after]
        if isinstance(low, str) or isinstance(high, str):
            raise InvalidRequest(
                f"The value '{rule.name}' is text ('{low}'), which has no linear course; set "
                "match: nearest."
            )
        part = (at - times[before]) / (times[after] - times[before])
        return float(low) + (float(high) - float(low)) * part
    if near_before and near_after:
        return values[before] if at - times[before] <= times[after] - at else values[after]
    return values[before] if near_before else values[after] if near_after else None


def _plain(rule: ValueRule, value: Any) -> Value:
    if hasattr(value, "item") and getattr(value, "size", 1) == 1:
        return value.item()  # type: ignore[no-any-return]
    raise InvalidRequest(
        f"The value '{rule.name}': the field '{rule.field}' holds {type(value).__name__}, neither "
        f"a number nor text; name an element of it, such as '{rule.field}[0]'."
    )


def _typestore(recording: Recording, topics: set[str]) -> Typestore:
    """The types of some topics: standard ones, others by the recording's own definitions."""
    own = {}
    for name in sorted(topics):
        kind = recording.topics[name].type
        if kind not in standard_types().types:
            definition = recording.definition(kind)
            if not definition:
                raise InvalidRequest(
                    f"'{recording.path}': {name} is of {kind}, which is no standard type, and the "
                    "recording does not carry its definition."
                )
            own[kind] = definition
    return typestore_with(own) if own else standard_types()
