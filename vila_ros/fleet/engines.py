# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The engine of a process: loaded once, for all the tasks that it does."""

from __future__ import annotations

import atexit
import json
import threading
from dataclasses import asdict

from vila_ros.engine.interface import Engine, EngineSpec
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


def close_engines() -> None:
    """Close what process_engine() loaded in this process."""
    with _lock:
        for engine in _engines.values():
            engine.close()
        _engines.clear()
