# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Dataclass fields that are ROS parameters: how they are described, and how values are checked.

Imports no ROS, so that settings can be read and tested without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar

from vila_ros.errors import InvalidRequest

S = TypeVar("S")


class Changes(Enum):
    """When a parameter may change."""

    ALWAYS = "at any time"
    UNCONFIGURED = "while the node is unconfigured"


@dataclass(frozen=True)
class Parameter:
    """How one field of a settings class appears as a ROS parameter.

    low, high: the range, inclusive; both or none. allowed: the strings it may be; empty for any.
    check: raises InvalidRequest for values that range and allowed do not refuse.
    """

    name: str
    says: str
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    check: Callable[[Any], None] | None = None
    changes: Changes = Changes.ALWAYS

    @property
    def description(self) -> str:
        """What it means, the strings it may be and when it may change, for its descriptor."""
        allowed = f" One of: {', '.join(word or '(empty)' for word in self.allowed)}."
        changes = f" May change {self.changes.value}."
        return self.says + (allowed if self.allowed else "") + changes


def parameter(name: str, default: Any, says: str, **limits: Any) -> Any:
    """A dataclass field that is a ROS parameter."""
    return field(default=default, metadata={"parameter": Parameter(name, says, **limits)})


def parameters_of(kind: type[S]) -> dict[str, tuple[Parameter, Any]]:
    """Field name -> (parameter, default) of a settings class, in its order."""
    found = fields(kind)  # type: ignore[arg-type]
    return {each.name: (each.metadata["parameter"], each.default) for each in found}


def build(kind: type[S], values: Mapping[str, Any], prefix: str = "") -> S:
    """Settings from the values of ROS parameters by name. Raises InvalidRequest with the reason."""
    found: dict[str, Any] = {}
    for attribute, (each, _) in parameters_of(kind).items():
        value = values[prefix + each.name]
        found[attribute] = tuple(value) if isinstance(value, (list, tuple)) else value
        check_value(each, found[attribute], prefix)
    return kind(**found)


def check_value(each: Parameter, value: Any, prefix: str = "") -> None:
    """Raise InvalidRequest, naming value, limit and fix, for a value that is not allowed."""
    if each.allowed and value not in each.allowed:
        raise InvalidRequest(
            f"{prefix}{each.name} is '{value}'; it must be one of {', '.join(each.allowed)}."
        )
    if each.low is not None and each.high is not None:
        number = float(value)
        if math.isnan(number) or not each.low <= number <= each.high:
            raise InvalidRequest(
                f"{prefix}{each.name} is {value}; it must be from {each.low:g} to {each.high:g}."
            )
    if each.check is not None:
        each.check(value)
