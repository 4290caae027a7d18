# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A process loads its model once, and each task begins with it in the same state."""

from __future__ import annotations

from dataclasses import replace

import pytest

from test.annotation.engines import BrightnessEngine
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest
from vila_ros.fleet.engines import close_engines, process_engine, settle


def test_equal_specs_share_an_engine_until_it_is_closed():
    spec = EngineSpec("test.doubles:EchoEngine", "echo", {"whole": True})
    engine = process_engine(spec)
    assert engine.capabilities is not None
    assert process_engine(EngineSpec(spec.runtime, "echo", {"whole": True})) is engine
    assert process_engine(EngineSpec(spec.runtime, "echo")) is not engine
    close_engines()
    assert process_engine(spec) is not engine
    close_engines()


def test_an_engine_that_cannot_be_made_is_not_kept():
    with pytest.raises(InvalidRequest):
        process_engine(EngineSpec("nothing", "x"))
    close_engines()


def test_only_what_keeps_prompts_is_asked_to_settle():
    engine = BrightnessEngine("tiny", answers={"Ready?": "yes"})
    engine.load()
    settle(engine)
    assert engine.requests == []
    engine._capabilities = replace(engine._capabilities, runtime="torch")
    engine.load()
    settle(engine)
    (request,) = engine.requests
    assert request.max_tokens == 1
