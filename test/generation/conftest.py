"""A tiny model with random weights, and engines over it."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from vila_ros.engine.interface import (
    GenerationRequest,
    ImagePart,
    Message,
    RgbImage,
    TextChunk,
    TextPart,
)
from vila_ros.engine.torch_engine import TorchEngine
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.generation import Generator
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.model.vila import Vila

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def vila(checkpoint) -> Vila:
    return load_vila(checkpoint)


@pytest.fixture
def generator(vila):
    generator = Generator(vila)
    yield generator
    generator.close()


@pytest.fixture(scope="session")
def engine(checkpoint):
    engine = TorchEngine(str(checkpoint))
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def images() -> list[RgbImage]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12)]


@pytest.fixture(scope="session")
def ask() -> Callable[..., GenerationRequest]:
    """A request: text, images before it, and GenerationRequest's other fields."""

    def ask(text, images=(), keys=None, request_id="r", system=None, **fields):
        keys = keys or [None] * len(images)
        parts = [ImagePart(image, key) for image, key in zip(images, keys, strict=True)]
        messages = (Message("user", (*parts, TextPart(text))),)
        if system:
            messages = (Message("system", (TextPart(system),)), *messages)
        return GenerationRequest(request_id, messages, **{"max_tokens": 16, **fields})

    return ask


@pytest.fixture(scope="session")
def answer() -> Callable[..., tuple[str, TextChunk]]:
    """The whole text of a stream, and its last chunk."""

    def answer(stream):
        chunks = list(stream)
        return "".join(chunk.text for chunk in chunks), chunks[-1]

    return answer
