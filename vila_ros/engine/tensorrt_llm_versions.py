# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What differs between the releases of TensorRT-LLM that this package drives, in one place.

The engine path (an engine folder run by the C++ executor) ends with 1.2.1; the LLM API with the
PyTorch backend begins with 1.0. A row here is chosen by the installed version; where the installed
code can be asked, its own signatures correct the row, since between 0.12 and 1.0 names changed one
release at a time. Sources: docs/tensorrt_llm.md, where each name is cited by file and commit.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import total_ordering
from typing import Any

from vila_ros.errors import Unsupported

LAST_WITH_ENGINES = "1.2.1"
FIRST_WITHOUT_ENGINES = "1.3.0rc21"
FIRST_WITH_ENGINES = "0.12"
FIRST_WITH_LLM_API = "1.0.0rc0"

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?(?:\.?(a|b|rc|dev)(\d+))?(.*)", re.DOTALL)
_STAGES = {"dev": 0, "a": 1, "b": 2, "rc": 3, None: 4}


@total_ordering
@dataclass(frozen=True)
class Version:
    """A release as TensorRT-LLM numbers them: 0.12.0, 1.2.0rc2, 1.3.0rc21."""

    release: tuple[int, int, int]
    stage: int
    number: int
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises Unsupported for a text that is no version."""
        found = _VERSION.fullmatch(text.strip())
        if found is None:
            raise Unsupported(
                f"tensorrt_llm calls its version {text!r}, which is no release number such as "
                f"{LAST_WITH_ENGINES}; install a released wheel"
            )
        major, minor, patch, stage, number, _ = found.groups()
        release = (int(major), int(minor), int(patch or 0))
        return cls(release, _STAGES[stage], int(number or 0), text.strip())

    def __lt__(self, other: Version) -> bool:
        return (self.release, self.stage, self.number) < (other.release, other.stage, other.number)

    def same_line(self, other: Version) -> bool:
        """Whether both are of one minor release, within which engines are kept loadable."""
        return self.release[:2] == other.release[:2]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class EngineApi:
    """Names of the engine path that are not the same in every release.

    executor: ModelRunnerCpp's attribute that holds the C++ executor. max_tokens, seed: parameters
    of Request and SamplingConfig. extra_ids: whether a prompt table may tell which image a row
    belongs to, without which the KV cache of images must not be reused. finish_reasons: whether a
    result says why it ended. mmap: whether weights can be mapped from the engine's file.
    """

    name: str
    executor: str
    max_tokens: str
    seed: str
    extra_ids: bool
    finish_reasons: bool
    mmap: bool


JETSON_0_12 = EngineApi(
    name="0.12 (v0.12.0-jetson)",
    executor="session",
    max_tokens="max_new_tokens",
    seed="random_seed",
    extra_ids=False,
    finish_reasons=False,
    mmap=True,
)
ENGINE_1_X = EngineApi(
    name="0.16 to 1.2.1",
    executor="executor",
    max_tokens="max_tokens",
    seed="seed",
    extra_ids=True,
    finish_reasons=True,
    mmap=False,
)


def engine_api(installed: str) -> EngineApi:
    """The row of an installed version. Raises Unsupported where engines cannot run."""
    version = check_runs_engines(installed)
    return JETSON_0_12 if version.release[:2] == (0, 12) else ENGINE_1_X


def check_runs_engines(installed: str) -> Version:
    """Raise Unsupported unless that version of tensorrt_llm can run an engine folder."""
    version = Version.parse(installed)
    if version >= Version.parse(FIRST_WITHOUT_ENGINES):
        raise Unsupported(
            f"tensorrt_llm {installed} cannot run an engine folder: the TensorRT engine path was "
            f"removed in {FIRST_WITHOUT_ENGINES}. Install tensorrt_llm {LAST_WITH_ENGINES}, the "
            "last version that runs it, or use runtime 'tensorrt_llm_pytorch' with the model folder"
        )
    if version.release < Version.parse(FIRST_WITH_ENGINES).release:
        raise Unsupported(
            f"tensorrt_llm {installed} is older than {FIRST_WITH_ENGINES}, the first version this "
            f"package drives; install {LAST_WITH_ENGINES} (x86-64) or branch v0.12.0-jetson (Orin)"
        )
    return version


def check_has_llm_api(installed: str) -> Version:
    """Raise Unsupported unless that version's tensorrt_llm.LLM is the PyTorch backend."""
    version = Version.parse(installed)
    if version < Version.parse(FIRST_WITH_LLM_API):
        raise Unsupported(
            f"tensorrt_llm {installed} has no PyTorch backend behind tensorrt_llm.LLM, which "
            "begins with 1.0; use runtime 'tensorrt_llm_engine' with an engine folder, or install "
            "1.0 or newer"
        )
    return version


def corrected(api: EngineApi, bindings: Any, runner_class: Any) -> EngineApi:
    """The row, corrected by what the installed code itself takes.

    bindings: tensorrt_llm.bindings.executor. runner_class: tensorrt_llm.runtime.ModelRunnerCpp.
    """
    request = parameter_names(bindings.Request)
    sampling = parameter_names(bindings.SamplingConfig)
    generate = parameter_names(runner_class.generate)
    table = parameter_names(bindings.PromptTuningConfig)
    return replace(
        api,
        max_tokens=_present(request, ("max_tokens", "max_new_tokens"), api.max_tokens),
        seed=_present(sampling, ("seed", "random_seed"), api.seed),
        extra_ids="input_token_extra_ids" in generate and "input_token_extra_ids" in table
        if generate and table
        else api.extra_ids,
    )


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's or a class's parameters, without self; empty where nothing tells.

    Functions compiled by pybind11 and nanobind have no signature that inspect can read; their
    docstring begins with one for each overload, whose names are joined here.
    """
    try:
        named = tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        named = ()
    if named and set(named) != {"args", "kwargs"}:
        return tuple(name for name in named if name != "self")
    documented = getattr(function, "__init__", None) if isinstance(function, type) else function
    return tuple(
        dict.fromkeys(
            name
            for line in _signature_lines(getattr(documented, "__doc__", None) or "")
            for name in _names(line)
            if name not in ("self", "args", "kwargs")
        )
    )


def _signature_lines(text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if re.match(r"\s*(\d+\.\s*)?\w+\(.*\)", line))


def _names(line: str) -> Iterable[str]:
    """Parameter names of one documented signature; what stands inside a type's brackets is not."""
    part, depth = "", 0
    for letter in line[line.index("(") + 1 :]:
        depth += (letter in "[({") - (letter in "])}")
        if depth < 0:
            break
        part += letter if depth == 0 else " "
    found = (re.match(r"\s*(\w+)\s*[:=]", given) for given in part.split(","))
    return (match[1] for match in found if match)


def _present(names: tuple[str, ...], candidates: tuple[str, ...], default: str) -> str:
    return next((name for name in candidates if name in names), default)
