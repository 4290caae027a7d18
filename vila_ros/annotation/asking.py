# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions to a model about one frame, each asked once however many miners want its answer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from vila_ros.annotation.cameras import Sight
from vila_ros.engine.interface import (
    Capabilities,
    Engine,
    GenerationRequest,
    ImagePart,
    Message,
    TextChunk,
    TextPart,
)
from vila_ros.errors import EngineFailed
from vila_ros.fleet.engines import settle

YES, NO = "yes", "no"
_CHOICES = (YES, NO)
# Of this process: stamps, which would name frames, come again in other recordings.
_serials = itertools.count()


@dataclass(frozen=True, slots=True)
class YesOrNo:
    """An answer. probability: the model's, of this answer; None where the runtime gives none."""

    text: str
    probability: float | None


class Interviewer:
    """Asks an engine about frames; remembers the answers about the last one.

    Two of them that are asked the same give the same answers, whatever their engine did before.
    """

    def __init__(self, engine: Engine, name: str = "") -> None:
        """name: what to call the model; its own name if empty."""
        capabilities = engine.capabilities or engine.load()
        self.capabilities: Capabilities = capabilities
        self.name = name or capabilities.model
        self._engine = engine
        settle(engine)
        self._sight: Sight | None = None
        self._key = ""
        self._answers: dict[str, YesOrNo] = {}

    def yes_or_no(self, sight: Sight, question: str) -> YesOrNo:
        """The answer to a question about a frame. Raises the engine's errors."""
        self._look_at(sight)
        if question not in self._answers:
            text, last = self.answer(sight, question, choices=_CHOICES, max_tokens=8)
            shares = dict(zip(_CHOICES, last.choice_probabilities, strict=False))
            self._answers[question] = YesOrNo(text.strip(), shares.get(text.strip()))
        return self._answers[question]

    def answer(
        self,
        sight: Sight,
        question: str,
        *,
        choices: tuple[str, ...] = (),
        json_schema: str | None = None,
        max_tokens: int = 256,
    ) -> tuple[str, TextChunk]:
        """The text of an answer and its last chunk. Raises the engine's errors."""
        self._look_at(sight)
        request = GenerationRequest(
            f"annotate-{next(_serials)}",
            (Message("user", (ImagePart(sight.pixels, self._key), TextPart(question))),),
            max_tokens=max_tokens,
            choices=choices,
            json_schema=json_schema,
        )
        text, last = "", None
        for last in self._engine.generate(request):
            text += last.text
        if last is None:
            raise EngineFailed(f"{self.name} gave no answer at all")
        return text, last

    def _look_at(self, sight: Sight) -> None:
        if self._sight is not sight:
            self._sight, self._answers = sight, {}
            self._key = f"annotate-{next(_serials)}"
