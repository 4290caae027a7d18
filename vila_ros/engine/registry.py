# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which runtimes there are, imported only when one is asked for.

A runtime of one's own needs no entry here: name it "package.module:Class". The class is built as
Class(model, **options) and implements vila_ros.engine.interface.Engine.
"""

from __future__ import annotations

import importlib
import inspect

from vila_ros.engine.interface import Engine, EngineSpec
from vila_ros.errors import InvalidRequest, Unsupported

RUNTIMES = {
    "torch": "vila_ros.engine.torch_engine:TorchEngine",
    "openai_http": "vila_ros.engine.openai_http:OpenAiHttpEngine",
    "tensorrt_llm_engine": "vila_ros.engine.tensorrt_llm_engine:TensorRtLlmEngine",
    "tensorrt_llm_pytorch": "vila_ros.engine.tensorrt_llm_pytorch:TensorRtLlmPytorchEngine",
}
METHODS = ("load", "generate", "cancel", "close")


def create_engine(spec: EngineSpec) -> Engine:
    """Import the spec's runtime and build its engine, which has not loaded anything yet.

    Raises InvalidRequest for a runtime that is not known or not an Engine, or options that its
    class does not take; Unsupported if the runtime's own dependencies are not installed.
    """
    path = RUNTIMES.get(spec.runtime, spec.runtime)
    module_name, _, class_name = path.partition(":")
    if not module_name or not class_name:
        raise InvalidRequest(
            f"The engine's runtime '{spec.runtime}' is not known. Known are {known_runtimes()}, "
            "and runtimes of one's own as 'package.module:Class'."
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _not_importable(spec.runtime, module_name, error) from error
    runtime = getattr(module, class_name, None)
    if runtime is None:
        raise InvalidRequest(
            f"The engine's runtime '{spec.runtime}' names no class: {module_name} has no "
            f"'{class_name}'. Known runtimes are {known_runtimes()}."
        )
    if not isinstance(runtime, type) or not all(hasattr(runtime, name) for name in METHODS):
        raise InvalidRequest(
            f"The engine's runtime '{spec.runtime}' is not an engine: it must be a class that has "
            f"{', '.join(METHODS)}."
        )
    return _build(runtime, spec)


def known_runtimes() -> str:
    """The names of RUNTIMES, for messages."""
    return ", ".join(f"'{name}'" for name in sorted(RUNTIMES))


def _not_importable(
    runtime: str, module_name: str, error: ImportError
) -> InvalidRequest | Unsupported:
    """Tell a wrong name from a right one whose dependencies are missing."""
    missing = error.name or ""
    if f"{module_name}.".startswith(f"{missing}."):
        return InvalidRequest(
            f"The engine's runtime '{runtime}' cannot be imported: there is no module "
            f"'{missing}'. Known runtimes are {known_runtimes()}."
        )
    return Unsupported(
        f"The engine's runtime '{runtime}' cannot run in this interpreter: {error}. Install what "
        "is missing, or name the interpreter that has it."
    )


def _build(runtime: type, spec: EngineSpec) -> Engine:
    try:
        inspect.signature(runtime).bind(spec.model, **spec.options)
    except TypeError as error:
        raise InvalidRequest(
            f"The engine's runtime '{spec.runtime}' does not take these options: {error}. "
            f"It takes {inspect.signature(runtime)}."
        ) from None
    engine: Engine = runtime(spec.model, **spec.options)
    return engine
