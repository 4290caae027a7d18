# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engine of a process: loaded once, for all the tasks that it does."""

from __future__ import annotations

import atexit
import json
import threading
from dataclasses import asdict

from vila_ros.engine.interface import Engine, EngineSpec, GenerationRequest, Message, TextPart
from vila_ros.engine.registry import create_engine

_lock = threading.Lock()
_engines: dict[str, Engine] = {}


def process_engine(spec: EngineSpec) -> Engine:
    """The loaded engine of a spec; the same one each time, closed when the process ends.

    Raises what loading raises, and tries again the next time.
    """
    key = json.dumps(asdict(spec), sort_keys=True)
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = create_engine(spec)
            engine.load()
            if not _engines:
                atexit.register(close_engines)
            _engines[key] = engine
        return engine


def settle(engine: Engine) -> None:
    """Leave what a loaded engine keeps of prompts in the same state whatever it was asked before.

    A prompt's beginning that is kept from the one before is not computed again, and what was
    computed in other company differs in the last digits. After the same short question, each task
    begins with the same. Engines of other runtimes than torch keep nothing that we could settle.
    """
    if engine.capabilities is None or engine.capabilities.runtime != "torch":
        return
    question = Message("user", (TextPart("Ready?"),))
    for _ in engine.generate(GenerationRequest("settle", (question,), max_tokens=1)):
        pass


def close_engines() -> None:
    """Close what process_engine() loaded in this process."""
    with _lock:
        for engine in _engines.values():
            engine.close()
        _engines.clear()
