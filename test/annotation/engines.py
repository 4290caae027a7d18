# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine whose answers follow from the picture's brightness, so that tests know them.

Name it "test.annotation.engines:BrightnessEngine". A question with "dark" is answered yes for dark
pictures, one with "bright" for bright ones, any other by the option `always`; the probability of
the answer falls from 0.99 to 0.5 the closer the brightness is to the middle. Answers with a schema
are the smallest values that satisfy it, but for what `answers` says by a word of the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from test.doubles import EchoEngine, media, smallest
from vila_ros.engine.interface import (
    FinishReason,
    GenerationRequest,
    GenerationStats,
    TextChunk,
    TextPart,
)
from vila_ros.errors import InvalidImage


class BrightnessEngine(EchoEngine):
    """See the module."""

    def __init__(
        self,
        model: str,
        *,
        always: str = "no",
        probabilities: bool = True,
        structured: bool = True,
        answers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(model)
        self.always = always
        self.requests: list[GenerationRequest] = []
        self._given = dict(answers or {})
        self._capabilities = replace(
            self._capabilities, choice_probabilities=probabilities, structured_output=structured
        )

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        self.requests.append(request)
        prompt = " ".join(p.text for p in request.messages[-1].parts if isinstance(p, TextPart))
        text, shares = self._reply(request, prompt)
        half = len(text) // 2
        yield TextChunk(text=text[:half], tokens=1)
        cut = text.endswith("<cut>")
        yield TextChunk(
            text=text[half:],
            tokens=2,
            finish_reason=FinishReason.LENGTH if cut else FinishReason.STOP,
            stats=GenerationStats(),
            choice_probabilities=shares if self._capabilities.choice_probabilities else (),
        )

    def _reply(self, request: GenerationRequest, prompt: str) -> tuple[str, tuple[float, ...]]:
        for word, answer in self._given.items():
            if word in prompt:
                return answer, ()
        if request.json_schema is not None:
            return smallest(request.json_schema), ()
        brightness = float(media(request)[0].pixels.mean()) / 255
        share = 0.5 + 0.49 * min(1.0, abs(brightness - 0.5) * 2)
        if "dark" in prompt or "bright" in prompt:
            answer = "yes" if ("dark" in prompt) == (brightness < 0.5) else "no"
        else:
            answer = self.always
        return answer, (share, 1 - share) if answer == "yes" else (1 - share, share)


class RefusingEngine(BrightnessEngine):
    """Refuses bright pictures, as models refuse those of an odd shape."""

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        if media(request)[0].pixels.mean() > 200:
            raise InvalidImage("too bright for this model")
        yield from super().generate(request)
