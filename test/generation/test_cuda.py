# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""On a GPU: the CPU's answers, alone and together, compiled or not, and what happens at its limits.

Needs torch, transformers and xgrammar alone, so that it runs on a GPU machine without ROS 2.
"""

import gc
import json
import time
from pathlib import Path

import pytest
import torch

from vila_ros.engine.interface import EngineSpec
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.engine.torch_engine import TorchEngine
from vila_ros.errors import Cancelled, EngineDown, OutOfMemory, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.embedded import EMBEDDED_MODELS, embedded_model_folder
from vila_ros.model.generation import Generator

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]
GOLDENS = sorted((Path(__file__).parents[1] / "data" / "vila").glob("*/checkpoint"))


@pytest.fixture(scope="module")
def asked(ask, images):
    """Questions of several lengths with no to three images."""
    return [
        ask(
            f"question {i}: what is this?" + " really" * (7 * i % 5),
            images[i : i + i % 4],
            request_id=f"r{i}",
            max_tokens=24 + i,
        )
        for i in range(7)
    ]


@pytest.fixture(scope="module")
def on_the_cpu(vila, asked, answer):
    generator = Generator(vila)
    texts = [answer(generator.submit(request))[0] for request in asked]
    generator.close()
    return texts


@pytest.mark.parametrize("compiled", [False, True], ids=["as written", "compiled"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_same_text_as_on_the_cpu(checkpoint, asked, answer, on_the_cpu, concurrency, compiled):
    vila = load_vila(checkpoint, device="cuda", dtype="float32")
    generator = Generator(vila, max_concurrency=concurrency, context_length=1024, compiled=compiled)
    streams = [generator.submit(request) for request in asked]
    assert [answer(stream)[0] for stream in streams] == on_the_cpu
    # Again, from what was kept of the prompts.
    assert [answer(generator.submit(request))[0] for request in asked] == on_the_cpu
    generator.close()


@pytest.fixture(scope="module")
def engines(checkpoint):
    """The CPU's and the GPU's, both in float32."""
    pair = [
        TorchEngine(str(checkpoint), device=device, dtype="float32") for device in ("cpu", "auto")
    ]
    assert [engine.load().device for engine in pair] == ["cpu", "cuda:0"]
    yield pair
    for engine in pair:
        engine.close()


def test_choices_are_as_probable(engines, ask, answer, images):
    request = ask("which?", images[:2], choices=("no", "no idea", "a red car", "x"))
    cpu, gpu = (answer(engine.generate(request))[1] for engine in engines)
    assert gpu.choice_probabilities == pytest.approx(cpu.choice_probabilities, rel=1e-3)


def test_answers_under_a_schema(engines, ask, answer):
    schema = json.dumps({"type": "object", "properties": {"car": {"type": "boolean"}},
                         "required": ["car"], "additionalProperties": False})  # fmt: skip
    request = ask("a car?", json_schema=schema, max_tokens=80)
    cpu, gpu = (answer(engine.generate(request))[0] for engine in engines)
    assert isinstance(json.loads(gpu)["car"], bool)
    assert gpu == cpu


def test_a_seed_repeats_an_answer(engines, ask, answer):
    request = ask("what?", temperature=1.0, top_p=0.9, seed=5, max_tokens=40)
    first, again = (answer(engines[1].generate(request))[0] for _ in range(2))
    assert first == again
    other = ask("what?", temperature=1.0, top_p=0.9, seed=6, max_tokens=40)
    assert answer(engines[1].generate(other))[0] != first


def test_a_cancelled_answer_ends_and_the_next_one_is_right(engines, ask, answer, asked, on_the_cpu):
    gpu = engines[1]
    stream = gpu.generate(ask("go on", request_id="long", max_tokens=900))
    next(stream)
    gpu.cancel("long")
    with pytest.raises(Cancelled):
        list(stream)
    assert answer(gpu.generate(asked[3]))[0] == on_the_cpu[3]


@pytest.mark.parametrize("folder", GOLDENS, ids=lambda folder: folder.parent.name)
def test_images_and_prompts_as_on_the_cpu(folder, ask, images):
    """Towers, projectors, tiling and scales of every generation."""
    messages = ask("what?", images[:3]).messages
    # The towers' convolution, by cuDNN, rounds float32 to TF32.
    for dtype, most in (("float32", 1e-3), ("bfloat16", 4e-2)):
        rows, logits = [], []
        for device in ("cpu", "cuda"):
            vila = load_vila(folder, device=device, dtype=dtype if device == "cuda" else "float32")
            with torch.inference_mode():
                embedded = vila.embed_prompt(vila.render(messages))
                rows.append(embedded.cpu().double())
                found = vila.language_model(inputs_embeds=embedded[None]).logits
                logits.append(found.cpu().double())
        for cpu, gpu in (rows, logits):
            assert float((gpu - cpu).norm() / cpu.norm()) < most


@pytest.mark.parametrize("name", EMBEDDED_MODELS)
def test_the_embedded_model(name, ask, answer, images):
    """In the GPU's bfloat16, int4 by its own kernels: as probable as on the CPU, within 8 bits."""
    try:
        folder = embedded_model_folder(name=name)
    except Unsupported as error:
        pytest.skip(f"the vision tower's weights are not here: {error}")
    questions = ("Is there a car?", "Is there a person?", "Is there a cone on the left?")
    requests = [
        ask(question, images[i : i + 1], choices=("yes", "no"), request_id=question)
        for question in questions
        for i in range(4)
    ]
    told, texts = [], []
    for device in ("cpu", "cuda"):
        engine = TorchEngine(str(folder), device=device)
        engine.load()
        told.append([answer(engine.generate(r))[1].choice_probabilities[0] for r in requests])
        described = ask("Describe the scene.", images[:1], max_tokens=12)
        texts.append(answer(engine.generate(described))[0])
        engine.close()
    for cpu, gpu in zip(*told, strict=True):
        assert gpu == pytest.approx(cpu, abs=0.1)
    assert all(texts)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(checkpoint):
    engine = TorchEngine(str(checkpoint), device="cuda", max_concurrency=1_000_000, compile=False)
    with pytest.raises(OutOfMemory, match=r"GiB"):
        engine.load()


def test_memory_comes_back_when_an_engine_is_closed(checkpoint, ask, answer, images):
    held = []
    for _ in range(3):
        engine = TorchEngine(str(checkpoint), device="cuda", max_concurrency=2)
        engine.load()
        answer(engine.generate(ask("what?", images[:2])))
        loaded = torch.cuda.memory_allocated()
        engine.close()
        del engine
        gc.collect()
        held.append(torch.cuda.memory_allocated())
        assert held[-1] < loaded
    # The first one may leave a library's workspace.
    assert held[2] - held[1] < 1 << 20


def test_without_memory_one_question_fails_and_the_next_is_answered(
    checkpoint, ask, answer, images
):
    engine = TorchEngine(str(checkpoint), device="cuda")
    engine.load()
    expected = answer(engine.generate(ask("what?", images[:2])))[0]
    torch.cuda.empty_cache()
    hoard, size = [], torch.cuda.mem_get_info()[0]
    while size > 1 << 10:
        try:
            hoard.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    with pytest.raises(OutOfMemory, match="use fewer or smaller images"):
        answer(engine.generate(ask("and this? " * 60, images[2:])))
    del hoard
    torch.cuda.empty_cache()
    assert answer(engine.generate(ask("what?", images[:2])))[0] == expected
    engine.close()


def test_a_dead_context_is_left_to_a_new_worker(checkpoint, ask, answer, tmp_path):
    """A real fault on the device, after which every call of that process fails."""
    engine = SupervisedEngine(
        EngineSpec(
            "test.generation.losing_engine:FaultingEngine",
            str(checkpoint),
            {"device": "cuda", "compile": False, "lost": str(tmp_path / "lost")},
        ),
        policy=SupervisionPolicy(backoff_first=0.01),
        on_log=lambda level, line: None,
    )
    try:
        engine.load()
        with pytest.raises(EngineDown, match="device-side assert"):
            answer(engine.generate(ask("what?")))
        deadline = time.monotonic() + 60
        while engine.status().restarts == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        engine.load()
        assert answer(engine.generate(ask("what?")))[1].tokens == 16
    finally:
        engine.close()
