# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of the recipe, as data.

Values are those of scripts/v1_5/release and scripts/NVILA in NVlabs/VILA.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from vila_ros.errors import InvalidRequest

Part = Literal["vision_tower", "projector", "language_model"]
PARTS: tuple[Part, ...] = ("vision_tower", "projector", "language_model")

PLAIN = "plain"
"""The prompt version of alignment: the image, then its caption; questions are left out."""


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    tuned: the parts that learn. learning_rate: its peak. batch: samples a step, over all
    processes. epochs: passes over the data. version: "plain", a conversation template's name, or
    None for the model's own. length: most rows of a sequence, media included. warmup: the part of
    the steps in which the rate rises; schedule: how it falls then, to 0 or not at all.
    clip: largest norm of the gradient, 0 for any.
    """

    name: str
    tuned: frozenset[Part]
    learning_rate: float
    batch: int
    version: str | None = None
    epochs: float = 1.0
    length: int = 4096
    warmup: float = 0.03
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_decay: float = 0.0
    clip: float = 1.0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tuned) - set(PARTS))
        if unknown or not self.tuned:
            raise InvalidRequest(
                f"stage {self.name} tunes {', '.join(unknown) or 'nothing'}; a stage tunes one or "
                f"more of {', '.join(PARTS)}"
            )
        if self.schedule not in ("cosine", "constant"):
            raise InvalidRequest(
                f"stage {self.name}: schedule {self.schedule!r} is unknown; use cosine or constant"
            )
        for field, least, most in (
            ("learning_rate", 1e-12, 1.0),
            ("batch", 1, 1 << 20),
            ("epochs", 1e-6, 1e4),
            ("length", 16, 1 << 20),
            ("warmup", 0.0, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("clip", 0.0, 1e6),
        ):
            value = getattr(self, field)
            if not least <= value <= most:
                raise InvalidRequest(
                    f"stage {self.name}: {field} is {value}, expected {least:g} to {most:g}"
                )

    def steps(self, samples: int) -> int:
        """Optimizer steps for that many samples; the last batch may be smaller."""
        return max(1, math.ceil(samples * self.epochs / self.batch))

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0.

        It rises in equal parts, reaches its peak at the end of the warm-up, and falls as a half
        cosine that would be 0 after the last step.
        """
        warm = math.ceil(self.warmup * steps)
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        if self.schedule == "constant":
            return self.learning_rate
        along = (step - warm) / max(1, steps - warm)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * along))

    def changed(self, **changes: Any) -> Stage:
        """This stage with other values; None leaves one as it is."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})


_PROJECTOR: frozenset[Part] = frozenset({"projector"})
_PROJECTOR_AND_LANGUAGE: frozenset[Part] = frozenset({"projector", "language_model"})
_EVERYTHING: frozenset[Part] = frozenset(PARTS)

VILA15: tuple[Stage, ...] = (
    Stage("align", _PROJECTOR, 1e-3, 256, PLAIN),
    Stage("pretrain", _PROJECTOR_AND_LANGUAGE, 5e-5, 1024),
    Stage("sft", _EVERYTHING, 1e-4, 256),
)
"""VILA1.5 (scripts/v1_5/release): projector; then the language model on interleaved and paired
data; then everything on instructions with text-only ones blended in."""

NVILA: tuple[Stage, ...] = (
    Stage("nvila-align", _PROJECTOR, 1e-3, 512, PLAIN, length=8192),
    Stage(
        "nvila-vision",
        frozenset({"vision_tower", "projector"}),
        2e-5,
        1024,
        length=8192,
        clip=5.0,
    ),
    Stage("nvila-pretrain", _PROJECTOR_AND_LANGUAGE, 2e-5, 1024, length=8192),
    Stage("nvila-sft", _EVERYTHING, 1.5e-5, 1024, length=8192, clip=5.0),
    Stage("nvila-video", _EVERYTHING, 2e-5, 2048, length=16384),
)
"""NVILA (scripts/NVILA): with stage 1.5, which fits the tower to its tiles, and a video stage."""

FINE_TUNE = Stage("finetune", _EVERYTHING, 1e-5, 32)
"""A released model on a robot's own recordings: everything, gently."""

STAGES: Mapping[str, Stage] = {stage.name: stage for stage in (*VILA15, *NVILA, FINE_TUNE)}


def choose_stages(names: Sequence[str]) -> tuple[Stage, ...]:
    """Stages by name, in that order; "vila1.5" and "nvila" name a whole recipe."""
    recipes = {"vila1.5": VILA15, "nvila": NVILA}
    chosen: list[Stage] = []
    for name in names:
        if name in recipes:
            chosen += recipes[name]
        elif name in STAGES:
            chosen.append(STAGES[name])
        else:
            raise InvalidRequest(
                f"stage {name!r} is unknown; known are {', '.join(STAGES)}, and the recipes "
                f"{', '.join(recipes)}"
            )
    if len({stage.name for stage in chosen}) < len(chosen):
        raise InvalidRequest(f"stages {', '.join(s.name for s in chosen)}: one is named twice")
    return tuple(chosen)
