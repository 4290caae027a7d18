# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads what a question of a file expects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.durations import parse_duration
from vila_ros.evaluation.plan import TopicValue
from vila_ros.evaluation.types import Bins, Expectation, Kind, Source
from vila_ros.evaluation.value_path import ValuePath
from vila_ros.evaluation.yaml_lines import Entry

_SOURCE = ("topic", "value", "bins", "map", "max_age", "labels")
_EVENT = ("when", "at", "tolerance")


def read_expectation(
    kind: Kind, own: Mapping[str, Entry], fields: Mapping[str, Any]
) -> Expectation:
    """The expectation that stands under its kind in a question. Raises InvalidRequest."""
    entry = own[kind]
    choices = tuple(fields.get("choices", ()))
    tolerance = own["tolerance"].number("tolerance", 0) if "tolerance" in own else 0.0
    if kind == "choice" and not choices:
        entry.fail("a 'choice' needs 'choices', the answers that are allowed")
    if kind == "number":
        if "tolerance" not in own:
            entry.fail("a 'number' needs a 'tolerance', by how much an answer may be off")
    elif "tolerance" in own and kind != "event":
        own["tolerance"].fail(f"a '{kind}' has no tolerance; a 'number' and an 'event' have")
    if kind == "event":
        return _event(entry, own, choices)
    if kind == "fields":
        if "json_schema" not in fields:
            entry.fail("'fields' need a 'json_schema', which makes the answer JSON")
        sources = {name: _source(each, kind, ()) for name, each in entry.mapping("fields").items()}
        return Expectation(kind, sources)
    return Expectation(kind, {"": _source(entry, kind, choices)}, tolerance)


def _event(entry: Entry, own: Mapping[str, Entry], choices: tuple[str, ...]) -> Expectation:
    given = entry.mapping("an event")
    _known(given, (*_EVENT, *_SOURCE), "an event")
    if "when" not in given:
        entry.fail("an event needs 'when', the answer that reports it, as 'when: yes'")
    when = given["when"].text("when")
    if choices and when not in choices:
        given["when"].fail(f"'{when}' is none of the choices: {', '.join(choices)}")
    tolerance = given.get("tolerance") or own.get("tolerance")
    if tolerance is None:
        entry.fail("an event needs a 'tolerance', by how much its time may be off, as '1s'")
    seconds = _seconds(tolerance, "tolerance")
    if "at" in given:
        if "topic" in given:
            given["at"].fail("'at' and 'topic' exclude each other")
        at = tuple(_moment(each) for each in given["at"].items_or_one())
        return Expectation("event", {}, seconds, when, at)
    if "topic" not in given:
        entry.fail("an event needs 'at', its times, or a 'topic' that knows them")
    return Expectation("event", {"": _topic(given)}, seconds, when)


def _moment(entry: Entry) -> tuple[str, float]:
    """12.5, or {recording: NAME, at: 12.5}."""
    if not isinstance(entry.value, dict):
        return "", _seconds(entry, "at")
    given = entry.mapping("a time")
    _known(given, ("recording", "at"), "a time")
    if "at" not in given:
        entry.fail("the time has no 'at'")
    recording = given["recording"].text("recording") if "recording" in given else ""
    return recording, _seconds(given["at"], "at")


def _source(entry: Entry, kind: Kind, choices: tuple[str, ...]) -> Source:
    if isinstance(entry.value, dict):
        given = entry.value
        _known(given, _SOURCE, "an expectation")
        if "labels" in given:
            labels = given["labels"].items("labels")
            return Source(labels=tuple(_label(each, kind, choices) for each in labels))
        if "topic" in given:
            source = _topic(given)
            for entry_name in ("bins", "map"):
                if entry_name in given:
                    _check_names(given[entry_name], entry_name, source, choices)
            return source
        if kind != "fields":
            entry.fail("an expectation is a value, or has a 'topic' or 'labels'")
    return Source(constant=_constant(entry, kind, choices))


def _constant(entry: Entry, kind: Kind, choices: tuple[str, ...]) -> Any:
    if kind == "number":
        return entry.number("the number")
    if kind == "text":
        return [each.text("the text") for each in entry.items_or_one()]
    if kind == "choice":
        choice = entry.text("the choice")
        if choice not in choices:
            entry.fail(f"'{choice}' is none of the choices: {', '.join(choices)}")
        return choice
    return entry.plain()


def _label(entry: Entry, kind: Kind, choices: tuple[str, ...]) -> tuple[str, float, Any]:
    given = entry.mapping("a label")
    _known(given, ("recording", "at", "is"), "a label")
    for name in ("at", "is"):
        if name not in given:
            entry.fail(f"the label has no '{name}'; write {{at: 3.2, is: VALUE}}")
    recording = given["recording"].text("recording") if "recording" in given else ""
    return recording, _seconds(given["at"], "at"), _constant(given["is"], kind, choices)


def _topic(given: Mapping[str, Entry]) -> Source:
    topic = given["topic"]
    path = given["value"].text("value") if "value" in given else "data"
    try:
        ValuePath(path)
    except InvalidRequest as error:
        given.get("value", topic).fail(error.message)
    return Source(
        topic=TopicValue(
            topic=topic.text("topic"),
            path=path,
            max_age=_seconds(given["max_age"], "max_age") if "max_age" in given else 0.5,
            origin=given.get("value", topic).origin,
        ),
        bins=_bins(given["bins"]) if "bins" in given else None,
        mapping={
            name: each.written or each.plain() for name, each in given["map"].mapping("map").items()
        }
        if "map" in given
        else None,
    )


def _bins(entry: Entry) -> Bins:
    """{left: [, -0.1], straight: [-0.1, 0.1], right: [0.1, ]}."""
    bins = []
    for name, each in entry.mapping("bins").items():
        ends = each.items(f"the range of '{name}'")
        if len(ends) != 2:
            each.fail(f"the range of '{name}' needs two ends, [low, high]; null is without end")
        low, high = (None if end.value is None else end.number("an end") for end in ends)
        if low is not None and high is not None and low >= high:
            each.fail(f"the range of '{name}' is empty: {low:g} is not below {high:g}")
        bins.append((name, low, high))
    return Bins(tuple(bins))


def _check_names(entry: Entry, what: str, source: Source, choices: tuple[str, ...]) -> None:
    """Bins and a map lead to choices that there are."""
    if not choices:
        return
    if what == "bins" and source.bins is not None:
        names = [name for name, _, _ in source.bins.choices]
    else:
        names = [str(value) for value in (source.mapping or {}).values()]
    for name in names:
        if name not in choices:
            entry.fail(f"'{name}' is none of the choices: {', '.join(choices)}")


def _seconds(entry: Entry, name: str) -> float:
    try:
        return parse_duration(entry.text(name), name)
    except InvalidRequest as error:
        entry.fail(error.message)


def _known(own: Mapping[str, Entry], known: tuple[str, ...], what: str) -> None:
    for name, entry in own.items():
        if name not in known:
            entry.fail(f"{what} has no '{name}'; there are {', '.join(known)}")
