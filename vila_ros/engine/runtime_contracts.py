# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Installed signatures beside those the adapters were written against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vila_ros.engine.contract_data import CONTRACTS, Contract
from vila_ros.engine.tensorrt_llm_versions import Version, parameter_names
from vila_ros.errors import InvalidRequest, Unsupported


@dataclass(frozen=True)
class Comparison:
    """One callable. installed: its parameters, None where there is no such callable, empty where
    the installed code does not tell. missing: what the adapters give and it does not take."""

    contract: Contract
    installed: tuple[str, ...] | None
    missing: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether the adapters' calls fit, as far as the installed code tells."""
        return self.installed is not None and not self.missing

    @property
    def says(self) -> str:
        """The outcome in a few words."""
        if self.installed is None:
            return "missing"
        if self.missing:
            return f"does not take {', '.join(self.missing)}"
        return "agrees" if self.installed or not self.contract.parameters else "does not tell"


def contracts_of(runtime: str, version: str | None = None) -> tuple[Contract, ...]:
    """The contracts of a runtime, of one release or of all. Empty for a runtime without any."""
    chosen = tuple(contract for contract in CONTRACTS if contract.runtime == runtime)
    if version is None:
        return chosen
    here = Version.parse(version)
    return tuple(
        each for each in chosen if Version.parse(each.first) <= here <= Version.parse(each.last)
    )


def compare(runtime: str, version: str, installed: Mapping[str, Any]) -> list[Comparison]:
    """Compare a release's callables, by the names of the contracts, with what is expected.

    Raises Unsupported for a release that nothing was written for.
    """
    contracts = contracts_of(runtime, version)
    if not contracts:
        known = sorted({f"{each.first} to {each.last}" for each in contracts_of(runtime)})
        raise Unsupported(
            f"{runtime} was written for tensorrt_llm {' and '.join(known)}, not for {version}; "
            "install one of those"
        )
    return [_compare(contract, installed) for contract in contracts]


def _compare(contract: Contract, installed: Mapping[str, Any]) -> Comparison:
    function: Callable[..., Any] | None = installed.get(contract.name)
    if function is None:
        return Comparison(contract, None, contract.parameters)
    names = _all_names(function)
    open_ended = not names or "kwargs" in names
    missing = () if open_ended else tuple(n for n in contract.parameters if n not in names)
    return Comparison(contract, names, missing)


def _all_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Parameters; for a class that lists its fields (pydantic), those."""
    fields = getattr(function, "model_fields", None)
    return tuple(fields) if fields else parameter_names(function)


def installed_api(runtime: str) -> tuple[str, dict[str, Any]]:
    """Version and callables of the installed runtime. Raises Unsupported where it is missing."""
    if runtime == "tensorrt_llm_engine":
        from vila_ros.engine import tensorrt_llm_engine

        return tensorrt_llm_engine.installed_api()
    if runtime == "tensorrt_llm_pytorch":
        from vila_ros.engine import tensorrt_llm_pytorch

        return tensorrt_llm_pytorch.installed_api()
    raise InvalidRequest(
        f"runtime {runtime!r} has no contracts; those with are tensorrt_llm_engine and "
        "tensorrt_llm_pytorch"
    )
