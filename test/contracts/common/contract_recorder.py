# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Binds and records the calls made of a contract's classes and functions."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=Callable[..., Any])

CALLS: list[tuple[str, dict[str, Any]]] = []


class ContractViolation(TypeError):
    """A call that the release would not take."""


def contract(function: Kind) -> Kind:
    """Hold a function, or a method, to its own signature, and note each call."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ContractViolation(f"{function.__qualname__}{signature}: {error}") from None
        given = {name: value for name, value in bound.arguments.items() if name not in _SELF}
        record(function.__qualname__, given)
        return function(*args, **kwargs)

    return called  # type: ignore[return-value]


def record(name: str, given: dict[str, Any]) -> None:
    """Note a call; also in the file that CONTRACT_LOG names, for calls in another process."""
    name = name.removesuffix(".__init__")
    CALLS.append((name, given))
    if path := os.environ.get("CONTRACT_LOG"):
        with open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps([name, sorted(given)]) + "\n")


def calls(name: str) -> list[dict[str, Any]]:
    """The arguments of each call of that name so far."""
    return [given for called, given in CALLS if called == name]


def require(condition: bool, says: str) -> None:
    """A check that the release makes itself."""
    if not condition:
        raise ContractViolation(says)


_SELF = ("self", "cls")
