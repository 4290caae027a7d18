# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Probes of a loaded engine: what passes, and what each of them notices."""

from dataclasses import replace

import pytest

from test.doubles import EchoEngine
from vila_ros.engine.interface import TextChunk
from vila_ros.engine.runtime_probes import PROBES, run_probe
from vila_ros.errors import Cancelled, EngineFailed

BY_NAME = {probe.name: probe for probe in PROBES}


class Runtime(EchoEngine):
    """An engine of which a subclass breaks one thing."""

    def __init__(self, **options: object) -> None:
        super().__init__("echo", **options)


def outcome(name: str, engine: EchoEngine):
    return run_probe(BY_NAME[name], engine, engine.load())


@pytest.mark.parametrize("name", BY_NAME)
def test_an_engine_that_does_all_passes_every_probe(name):
    found = outcome(name, Runtime(delay=0.001, max_images=8))

    assert found.passed is True, found.detail


class Forgetful(Runtime):
    """Answers every request as if it had one image."""

    def generate(self, request):
        for chunk in super().generate(request):
            stats = chunk.stats and replace(chunk.stats, image_tokens=16)
            yield replace(chunk, stats=stats)


class AllAtOnce(Runtime):
    """Holds the text back until the end."""

    def generate(self, request):
        chunks = list(super().generate(request))
        text = "".join(chunk.text for chunk in chunks)
        yield replace(chunks[-1], text=text)


class DeafToCancel(Runtime):
    def cancel(self, request_id: str) -> None:
        pass


class BrokenByCancel(Runtime):
    """Fails every request after the first cancelled one."""

    broken = False

    def generate(self, request):
        if self.broken:
            raise EngineFailed("the runtime is gone")
        try:
            yield from super().generate(request)
        except Cancelled:
            self.broken = True
            raise


class IgnoresSchemas(Runtime):
    def answer(self, request):
        return ["certainly,", "red"]


class TakesAnything(Runtime):
    """Says that it takes 8 images, and does not hold to it."""

    def load(self):
        return replace(super().load(), max_images=8)


@pytest.mark.parametrize(
    ("name", "engine", "says"),
    [
        ("two images", Forgetful(), "16 and 16 image tokens"),
        ("streaming", AllAtOnce(), "in 1 pieces"),
        ("cancel", DeafToCancel(delay=0.001), "went on to its end"),
        ("cancel", BrokenByCancel(delay=0.02), "EngineFailed"),
        ("json", IgnoresSchemas(), "InvalidOutput"),
        ("out of memory", TakesAnything(max_images=64), "9 images were answered"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_broken_is_noticed(name, engine, says):
    found = outcome(name, engine)

    assert found.passed is False
    assert says in found.detail


class WithoutExtras(Runtime):
    def load(self):
        return replace(super().load(), structured_output=False, video=False, max_images=1)


@pytest.mark.parametrize("name", ["json", "video", "two images"])
def test_what_a_runtime_does_not_offer_is_not_held_against_it(name):
    assert outcome(name, WithoutExtras()).passed is None


class Silent(Runtime):
    def generate(self, request):
        yield TextChunk()


def test_an_answer_without_an_end_does_not_pass():
    assert outcome("one image", Silent()).passed is False
