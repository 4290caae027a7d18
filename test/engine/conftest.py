# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines in real worker processes, and questions to them."""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vila_ros.engine.interface import (
    EngineSpec,
    GenerationRequest,
    ImagePart,
    Message,
    TextChunk,
    TextPart,
)
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import EngineDown

PATIENCE = 60.0
NUMBERS = itertools.count()


def request(text: str, *images: ImagePart, **fields: object) -> GenerationRequest:
    """A request of one user message, with an id of its own."""
    name = fields.pop("request_id", f"request-{next(NUMBERS)}")
    parts = (TextPart(text), *images)
    return GenerationRequest(str(name), (Message("user", parts),), **fields)  # type: ignore[arg-type]


def image(red: int, height: int = 4, width: int = 6, key: str | None = None) -> ImagePart:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = red
    return ImagePart(pixels, key)


def text_of(chunks: Iterator[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a state that must come; the limit is only there to end a broken run."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "the state did not come"
        time.sleep(0.01)


def answers_again(engine: SupervisedEngine) -> None:
    """Wait until it answers. With short limits a busy machine may cost it more than one restart."""

    def answers() -> bool:
        try:
            engine.load()
            return text_of(engine.generate(request("next"))) == "next"
        except EngineDown:
            return False

    wait_until(answers)


@pytest.fixture
def supervised():
    """Starts engines in worker processes: supervised(load=…, policy=…, …, **engine options)."""
    engines = []

    def start(
        runtime: str = "test.doubles:CrashingEngine",
        *,
        load: bool = True,
        policy: SupervisionPolicy | None = None,
        interpreter: str | None = None,
        on_status: Callable | None = None,
        on_log: Callable | None = None,
        **options: object,
    ) -> SupervisedEngine:
        engine = SupervisedEngine(
            EngineSpec(runtime, "double", options),
            interpreter=interpreter,
            on_status=on_status,
            on_log=on_log,
            policy=policy or SupervisionPolicy(heartbeat_interval=0.05, backoff_first=0.01),
        )
        engines.append(engine)
        if load:
            engine.load()
        return engine

    yield start
    for engine in engines:
        engine.close()
