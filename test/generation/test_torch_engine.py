"""The torch runtime behind the Engine interface."""

import dataclasses
import subprocess
import sys
import threading

import pytest
import torch

from vila_ros.engine.interface import Engine
from vila_ros.engine.torch_engine import TorchEngine, choose_dtype
from vila_ros.errors import Cancelled, InvalidCheckpoint, InvalidRequest, NotActive, Unsupported


def test_it_is_an_engine_that_tells_the_truth_about_itself(engine, checkpoint):
    assert isinstance(engine, Engine)
    capabilities = engine.load()
    assert engine.capabilities is capabilities
    assert capabilities.model == checkpoint.name
    assert (capabilities.runtime, capabilities.device, capabilities.dtype) == (
        "torch",
        "cpu",
        "float32",
    )
    assert capabilities.structured_output
    assert capabilities.choice_probabilities
    stored = sum(path.stat().st_size for path in checkpoint.rglob("*.safetensors"))
    assert capabilities.memory_bytes > stored


def test_the_most_images_fit_and_one_more_does_not(engine, ask, answer, images):
    capabilities = engine.capabilities
    rows = capabilities.tokens_per_image
    assert capabilities.max_images * rows < capabilities.context_length
    assert (capabilities.max_images + 1) * rows >= capabilities.context_length
    last = answer(engine.generate(ask("what?", images[:1])))[1]
    assert last.stats.image_tokens == rows


def test_nothing_heavy_happens_before_load(ask, tmp_path):
    engine = TorchEngine(str(tmp_path / "nothing"))
    assert engine.capabilities is None
    engine.cancel("x")
    stream = engine.generate(ask("what?"))
    with pytest.raises(NotActive, match=r"load\(\)"):
        next(stream)
    with pytest.raises(InvalidCheckpoint):
        engine.load()
    engine.close()


def test_eight_threads_at_once_get_their_own_answers(engine, ask, answer, images):
    asked = [
        ask(f"what is it, {i}?", images[i : i + 2], request_id=f"t{i}", temperature=i % 2, seed=i)
        for i in range(8)
    ]
    alone = [answer(engine.generate(request))[0] for request in asked]
    together = [None] * 8

    def run(i):
        for round in range(3):
            request = dataclasses.replace(asked[i], request_id=f"t{i}.{round}")
            together[i] = answer(engine.generate(request))[0]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_bfloat16_answers(checkpoint, ask, answer, images):
    engine = TorchEngine(str(checkpoint), dtype="bfloat16", max_concurrency=2, context_length=512)
    capabilities = engine.load()
    assert (capabilities.dtype, capabilities.context_length) == ("bfloat16", 512)
    text, last = answer(engine.generate(ask("what?", images[:2])))
    assert last.tokens == 16
    assert answer(engine.generate(ask("what?", images[:2])))[0] == text
    engine.close()


def test_close_ends_streams_and_the_thread_and_load_starts_anew(checkpoint, ask):
    before = threading.active_count()
    engine = TorchEngine(str(checkpoint))
    engine.load()
    stream = engine.generate(ask("talk", max_tokens=1500))
    next(stream)
    engine.close()
    with pytest.raises(Cancelled):
        list(stream)
    with pytest.raises(NotActive):
        next(engine.generate(ask("late")))
    engine.close()
    engine.load()
    assert next(engine.generate(ask("again"))) is not None
    engine.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "tpu"}, Unsupported, "tpu"),
        ({"device": "mps"}, Unsupported, "mps"),
        ({"dtype": "int3"}, Unsupported, "int3"),
        ({"dtype": "float16"}, Unsupported, "float16"),
        ({"max_concurrency": 0}, InvalidRequest, "max_concurrency is 0"),
        ({"threads": 0}, InvalidRequest, "threads is 0"),
        ({"context_length": 1}, InvalidRequest, "context_length is 1"),
        ({"embedding_cache_mb": -1}, InvalidRequest, "embedding_cache_mb is -1"),
    ],
)
def test_wrong_options_are_refused_by_name(checkpoint, options, error, message):
    with pytest.raises(error, match=message):
        TorchEngine(str(checkpoint), **options).load()


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_cuda_that_is_not_there_is_said(checkpoint):
    with pytest.raises(Unsupported, match="torch sees 0 CUDA devices"):
        TorchEngine(str(checkpoint), device="cuda").load()


def test_auto_is_float32_on_the_cpu():
    assert choose_dtype("auto", torch.device("cpu")) == "float32"


@pytest.mark.parametrize(
    "module",
    ["vila_ros.engine.interface", "vila_ros.engine.json_schema", "vila_ros.engine.grammar_schema"],
)
def test_the_nodes_side_needs_no_torch(module):
    code = f"import sys, {module}; assert not {{'torch', 'xgrammar'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
