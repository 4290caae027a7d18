# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Paths into messages, for expected answers that a topic knows.

    data                                            a field
    twist.twist.linear.x                            a field of a field
    data.objects[kind=person][distance<30] | count  how many of a list fulfil conditions
    ranges[0]                                       an element, from 0; -1 is the last
    data.objects[kind=stop sign] | any              whether there is one

A text that holds JSON is read as JSON where the path goes on into it. After "|" stands one of
count, any, none, first, last, min, max, sum, mean, abs, round.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vila_ros.errors import InvalidRequest

_STEP = re.compile(r"\s*(?:\.?([A-Za-z_]\w*)|\[\s*([^\]]*?)\s*\]|(\|)\s*([a-z]+))\s*")
_CONDITION = re.compile(r"([A-Za-z_][\w.]*)\s*(<=|>=|!=|=|<|>)\s*(.+)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_LIST_FUNCTIONS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "count": len,
    "any": lambda values: len(values) > 0,
    "none": lambda values: len(values) == 0,
    "first": lambda values: values[0] if len(values) else None,
    "last": lambda values: values[-1] if len(values) else None,
    "min": lambda values: min(values) if len(values) else None,
    "max": lambda values: max(values) if len(values) else None,
    "sum": sum,
    "mean": lambda values: sum(values) / len(values) if len(values) else None,
}
_FUNCTIONS = {*_LIST_FUNCTIONS, "abs", "round"}


@dataclass(frozen=True, slots=True)
class _Step:
    kind: str  # "field", "index", "where", "function"
    name: str = ""
    index: int = 0
    comparison: str = ""
    value: Any = None


class ValuePath:
    """A path that was read. Raises InvalidRequest where it is none, saying where."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[_Step] = []
        position = 0
        while position < len(text):
            match = _STEP.match(text, position)
            if match is None or match.end() == position:
                raise InvalidRequest(
                    f"the path '{text}' is not understood from '{text[position:][:20]}' on; write "
                    "for instance data.objects[kind=person] | count"
                )
            self._steps.append(_step(match))
            position = match.end()
        if not self._steps:
            raise InvalidRequest("the path is empty; write for instance data")

    def of(self, message: Any) -> Any:
        """The value in a message: JSON values. Raises InvalidRequest where the path leads nowhere;
        None where a list is empty and has no first, least or mean, and for inf and NaN rounded."""
        value = message
        for step in self._steps:
            value = self._follow(value, step)
        return _plain(value)

    def _follow(self, value: Any, step: _Step) -> Any:
        if value is None:
            return None
        if step.kind == "function":
            return self._call(value, step.name)
        if isinstance(value, str):
            value = self._json(value, step)
        if step.kind == "field":
            return self._field(value, step.name)
        if not isinstance(value, list | tuple | np.ndarray):
            raise self._wrong(f"[…] needs a list, there is {_kind(value)}")
        if step.kind == "index":
            if not -len(value) <= step.index < len(value):
                raise self._wrong(f"[{step.index}] is outside of a list of {len(value)}")
            return value[step.index]
        compare = _COMPARISONS[step.comparison]
        return [each for each in value if self._holds(compare, each, step)]

    def _holds(self, compare: Callable[[Any, Any], bool], element: Any, step: _Step) -> bool:
        found = element
        for name in step.name.split("."):
            found = self._field(found, name)
        try:
            return bool(compare(_plain(found), step.value))
        except TypeError:
            raise self._wrong(
                f"{step.name} is {_kind(found)} and cannot be compared with {step.value!r}"
            ) from None

    def _field(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            if name in value:
                return value[name]
            known = sorted(value)
        else:
            known = sorted(getattr(value, "__dataclass_fields__", {}))
            if name in known and not name.startswith("_"):
                return getattr(value, name)
        listed = [each for each in known if not each.startswith("_") and not each.isupper()]
        raise self._wrong(
            f"there is no '{name}'; there are: {', '.join(listed[:20])}"
            if listed
            else f"'{name}' is looked for in {_kind(value)}, which has no fields"
        )

    def _json(self, text: str, step: _Step) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise self._wrong(
                f"the text {text[:40]!r} is no JSON, so '{step.name or '[…]'}' is not in it"
            ) from None

    def _call(self, value: Any, name: str) -> Any:
        value = _plain(value)  # numpy's integers would wrap around in sums
        try:
            if name in _LIST_FUNCTIONS:
                if not isinstance(value, list):
                    raise self._wrong(f"{name} needs a list, there is {_kind(value)}")
                return _LIST_FUNCTIONS[name](value)
            return abs(value) if name == "abs" else round(value)
        except TypeError:
            raise self._wrong(f"{name} needs numbers") from None
        except (ValueError, OverflowError):
            return None  # no integer is near inf or NaN; one such message is no wrong path

    def _wrong(self, why: str) -> InvalidRequest:
        return InvalidRequest(f"the path '{self.text}' leads nowhere: {why}")


def _step(match: re.Match[str]) -> _Step:
    name, bracket, pipe, function = match.groups()
    if name is not None:
        return _Step("field", name)
    if pipe is not None:
        if function not in _FUNCTIONS:
            raise InvalidRequest(
                f"'| {function}' is not known; known are {', '.join(sorted(_FUNCTIONS))}"
            )
        return _Step("function", function)
    if re.fullmatch(r"-?\d+", bracket):
        return _Step("index", index=int(bracket))
    condition = _CONDITION.fullmatch(bracket)
    if condition is None:
        raise InvalidRequest(f"'[{bracket}]' is neither a number nor a condition as [kind=person]")
    field, comparison, text = condition.groups()
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text.strip("'\"")
    return _Step("where", field, comparison=comparison, value=value)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple | np.ndarray):
        return "a list"
    return f"{type(value).__name__} {str(value)[:40]}"
