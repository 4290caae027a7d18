# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions about images, answered by a real server with a real, if random, model on the CPU."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from test.engine.openai.conftest import QUICK, answer, ask, image
from vila_ros.engine.interface import EngineSpec, FinishReason, ImagePart, TextPart
from vila_ros.engine.openai_http import OpenAiHttpEngine
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import Cancelled, EngineFailed, InvalidOutput, InvalidRequest

pytest.importorskip("fastapi")
pytest.importorskip("openai")

COMMAND = "from transformers.cli.transformers import main; main()"
PATIENT = {**QUICK, "load_timeout": 120.0, "check_timeout": 30.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from test.engine.servers.tiny_vlm import write_tiny_vlm

    return str(write_tiny_vlm(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def url(model, tmp_path_factory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    folder = tmp_path_factory.mktemp("serve")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", model, "--device", "cpu", "--host",
             "127.0.0.1", "--port", str(port)],
            env={**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1",
                 "OMP_NUM_THREADS": "1"},
            stdout=log, stderr=log,
        )  # fmt: skip
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        except (urllib.error.URLError, OSError):
            said = (folder / "log").read_text()[-3000:]
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/v1"
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def engine(model, url):
    engine = OpenAiHttpEngine(model, servers=[url], image_format="png", **PATIENT)
    engine.load()
    yield engine
    engine.close()


def expected(model, request):
    """What the same weights say to the request in this process."""
    from test.engine.servers.tiny_vlm import expected_answer

    def part(each):
        if isinstance(each, ImagePart):
            return {"type": "image", "image": Image.fromarray(each.pixels)}
        return {"type": "text", "text": each.text}

    messages = [
        {"role": message.role, "content": [part(each) for each in message.parts]}
        for message in request.messages
    ]
    return expected_answer(Path(model), messages, request.max_tokens)


def test_an_image_question_is_answered_as_the_model_answers_it(engine, model):
    """The server's greedy answer over HTTP is the one that the same weights give in this process:
    the image arrived pixel by pixel, and the prompt as it was written."""
    pixels = np.random.default_rng(3).integers(0, 256, (48, 64, 3), np.uint8)
    for part in (ImagePart(pixels), image(0, 0, 255)):
        request = ask(part, "what is it?", max_tokens=24)
        text, last = answer(engine, request)
        assert text == expected(model, request)
        assert last.stats.completion_tokens == 24
        assert last.finish_reason is FinishReason.LENGTH


def test_the_answer_depends_on_what_is_seen(engine):
    texts = {answer(engine, ask(image(*rgb), "?", max_tokens=16))[0]
             for rgb in ((255, 0, 0), (0, 255, 0), (0, 0, 0))}  # fmt: skip
    assert len(texts) == 3


def test_several_images_examples_and_a_system_message_are_taken(engine, model):
    example = ((image(200), TextPart("red?")), "yes")
    request = ask(
        image(), image(0, 200), "and?", system="Be brief.", examples=[example], max_tokens=24
    )
    text, _ = answer(engine, request)
    assert text == expected(model, request)


def test_capabilities_are_what_was_found_out(engine):
    found = engine.capabilities
    assert found.tokens_per_image == 16  # 32 x 32 pixels in patches of 8 x 8
    assert found.max_images == 16
    assert not found.choice_probabilities  # this server has none


def test_a_schema_that_this_server_ignores_is_never_violated_silently(engine):
    with pytest.raises(InvalidOutput):
        answer(engine, ask(image(), "?", json_schema='{"type": "integer"}', max_tokens=8))


def test_cancel_ends_a_long_answer(engine):
    request = ask(image(), "?", max_tokens=100000)
    stream = engine.generate(request)
    for chunk in stream:
        if chunk.text:
            break
    threading.Thread(target=engine.cancel, args=(request.request_id,)).start()
    with pytest.raises(Cancelled):
        list(stream)
    assert answer(engine, ask("still there?", max_tokens=2))[0]


def test_another_model_than_the_server_has_is_one_clear_error(url):
    engine = OpenAiHttpEngine("another", servers=[url], **PATIENT)
    with pytest.raises((InvalidRequest, EngineFailed), match=r"pinned to|does not serve"):
        engine.load()
    engine.close()


def test_it_runs_in_the_worker_process_like_every_runtime(model, url):
    options = {"servers": [url], "image_format": "png", **PATIENT}
    engine = SupervisedEngine(EngineSpec("openai_http", model, options))
    try:
        assert engine.load().runtime == "openai_http"
        request = ask(image(10, 200, 30), "what?", max_tokens=12)
        assert answer(engine, request)[0] == expected(model, request)
    finally:
        engine.close()


def test_the_engine_needs_neither_torch_nor_transformers():
    script = (
        "import sys, json\n"
        "from vila_ros.engine.registry import create_engine\n"
        "from vila_ros.engine.interface import EngineSpec\n"
        "create_engine(EngineSpec('openai_http', 'm', {'servers': ['http://127.0.0.1:9']}))\n"
        "print(json.dumps(sorted({'torch', 'transformers', 'xgrammar'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parents[3], capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == []
