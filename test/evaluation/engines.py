# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine that answers by what it sees, the same in every process."""

from __future__ import annotations

import json

import numpy as np

from test.doubles import EchoEngine, media, smallest
from vila_ros.engine.interface import GenerationRequest
from vila_ros.errors import EngineFailed


class SeeingEngine(EchoEngine):
    """Answers "N images, mean M" of what it is shown.

    With choices the answer is the choice at index (mean modulo their number); with a schema the
    smallest value. wrong_after: from this mean on, other choices are taken. fail: raise for prompts
    that hold it. says: what it answers where it is neither choices nor a schema.
    """

    def __init__(
        self, model: str, *, shift: int = 0, fail: str = "", says: str = "", **options: object
    ) -> None:
        super().__init__(model, **options)  # type: ignore[arg-type]
        self.shift = shift
        self.fail = fail
        self.says = says

    def answer(self, request: GenerationRequest) -> list[str]:
        images = [part.pixels for part in media(request)]  # type: ignore[union-attr]
        mean = round(float(np.mean([image.mean() for image in images]))) if images else 0
        last = request.messages[-1].parts[-1]
        if self.fail and self.fail in last.text:  # type: ignore[union-attr]
            raise EngineFailed("It failed, as it was told to.")
        if request.choices:
            index = (mean + self.shift) % len(request.choices)
            return request.choices[index].split(" ")
        if request.json_schema:
            return json.dumps(json.loads(smallest(request.json_schema))).split(" ")
        if self.says:
            return [self.says]
        return f"{len(images)} images, mean {mean + self.shift}".split(" ")
