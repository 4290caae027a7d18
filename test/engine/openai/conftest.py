# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines against a real server process; every test is a user of its own there."""

import uuid

import numpy as np
import pytest

from test.engine.servers.process import ServerProcess
from vila_ros.engine.interface import GenerationRequest, ImagePart, Message, TextPart
from vila_ros.engine.openai_http import OpenAiHttpEngine
from vila_ros.errors import EngineDown

# Long enough for a loaded machine, short enough that a defect shows as a failure, not as a hang.
QUICK = {"load_timeout": 20.0, "check_interval": 0.2, "retries": 2}


@pytest.fixture(scope="package")
def server(tmp_path_factory):
    process = ServerProcess(tmp_path_factory.mktemp("server") / "log")
    yield process
    process.kill()


@pytest.fixture
def user():
    return uuid.uuid4().hex


@pytest.fixture
def connect(server, user):
    """connect(behaviour, …, **options): a loaded engine for servers that behave so."""
    engines = []

    def connect(*behaviours, load=True, **options):
        urls = options.pop("servers", [server.url(behaviour, user) for behaviour in behaviours])
        engine = OpenAiHttpEngine("tiny", servers=urls, **{**QUICK, **options})
        engines.append(engine)
        if load:
            load_in_the_end(engine)
        return engine

    yield connect
    for engine in engines:
        engine.close()


def load_in_the_end(engine):
    """Load it; where a test's short patience cuts the questions at start off, once more."""
    for _ in range(30):
        try:
            return engine.load()
        except EngineDown as error:
            if "_timeout" not in error.message:
                raise
    return engine.load()


def image(red=200, green=0, blue=0, size=(48, 64), key=None):
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = (red, green, blue)
    return ImagePart(pixels, key)


def ask(*parts, system=None, examples=(), **fields):
    """A request: texts and images of the user's last message."""
    messages = [Message("system", (TextPart(system),))] if system else []
    for question, answer in examples:
        messages += [Message("user", question), Message("assistant", (TextPart(answer),))]
    last = tuple(TextPart(part) if isinstance(part, str) else part for part in parts)
    messages.append(Message("user", last))
    fields.setdefault("request_id", uuid.uuid4().hex)
    return GenerationRequest(messages=tuple(messages), **fields)


def answer(engine, request):
    """The text of the whole answer, and the last chunk."""
    chunks = list(engine.generate(request))
    return "".join(chunk.text for chunk in chunks), chunks[-1]
