# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""After an error of CUDA's every later call of the process fails, so the process has to end."""

import time

import pytest
import torch

from test.generation.losing_engine import SAYS
from vila_ros.engine.interface import EngineSpec
from vila_ros.engine.runtime_errors import runtime_error
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.engine.worker import as_vila_error
from vila_ros.errors import DeviceLost, EngineDown, EngineFailed, OutOfMemory
from vila_ros.model.decoder import Decoder
from vila_ros.model.generation import Generator
from vila_ros.model.memory import is_out_of_memory


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
@pytest.mark.parametrize("where", ["prefill", "decode", "copy_rows"])
def test_a_lost_device_ends_the_generator_and_every_answer(vila, ask, answer, kind, where):
    def lose(*args, **fields):
        raise kind(SAYS)

    generator = Generator(
        vila, max_concurrency=2, decoder=lambda cache: Decoder(vila.language_model, cache)
    )
    if where == "copy_rows":
        # The prefix is copied as its own slot is in use.
        generator.cache.copy_rows = lose
        first = generator.submit(ask("what is it?", max_tokens=600))
        while not next(first).tokens:
            pass
    else:
        setattr(generator._decoder, where, lose)
        first = generator.submit(ask("what is it?"))
    more = [generator.submit(ask("what is it?", request_id=f"{i}")) for i in range(4)]
    for stream in [first, *more, generator.submit(ask("late", request_id="late"))]:
        with pytest.raises(DeviceLost, match=r"illegal memory access.*start it again"):
            list(stream)
    generator.close()


def test_the_next_question_is_answered_by_a_new_worker(checkpoint, ask, answer, tmp_path):
    engine = SupervisedEngine(
        EngineSpec(
            "test.generation.losing_engine:LosingEngine",
            str(checkpoint),
            {"threads": 1, "lost": str(tmp_path / "lost")},
        ),
        policy=SupervisionPolicy(backoff_first=0.01),
        on_log=lambda level, line: None,
    )
    try:
        engine.load()
        with pytest.raises(EngineDown, match="illegal memory access"):
            answer(engine.generate(ask("what?")))
        while engine.status().restarts == 0:
            time.sleep(0.01)
        engine.load()
        assert answer(engine.generate(ask("what?")))[1].tokens == 16
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (RuntimeError(SAYS), DeviceLost),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB."), OutOfMemory),
        (RuntimeError("no such kernel"), EngineFailed),
        (ValueError("CUDA error: in a user's text"), EngineFailed),
    ],
)
def test_a_lost_device_is_told_from_other_errors(error, becomes):
    assert type(as_vila_error(error, "generation")) is becomes


def test_what_another_runtime_says_of_cuda_is_told_alike():
    said = "CUDA runtime error in cudaEventSynchronize: an illegal memory access was encountered"
    assert type(runtime_error(said, "generating")) is DeviceLost
    assert type(runtime_error("CUDA error: out of memory", "generating")) is OutOfMemory


@pytest.mark.parametrize(
    "says", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"]
)
def test_no_memory_left_loses_no_device(says):
    assert is_out_of_memory(RuntimeError(says))
    assert not isinstance(as_vila_error(RuntimeError(says), "generation"), DeviceLost)
