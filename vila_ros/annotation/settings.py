# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a run of `vila annotate` looks for, in plain values that cross process boundaries."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vila_ros.annotation.duplicates import Likeness
from vila_ros.annotation.motion import MotionLimits
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest

DEFAULT_QUESTION = "Is something unusual on the road?"


@dataclass(frozen=True)
class VisionSpec:
    """Whose vision tower makes embeddings: folder or hub id, "cpu" or "cuda:0", dtype."""

    model: str
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class AnnotationSettings:
    """All that the result depends on but the recordings.

    every: seconds between frames that are looked at. cameras: names or topics, () for all.
    limits, steering_scale: see motion; limits None switches that off. vision, novelty: whose
    embeddings, and the share of frames that may count as novel; vision None switches novelty off
    and leaves near-duplicates to the perceptual hash. engine: answers and drafts; None mines
    without a model and drafts nothing. second: a second model to compare with. questions: a frame
    counts when one is answered with yes. same, opposite: pairs of questions whose answers must be
    so. confidence: an answer less probable counts as doubt; 0 is off. most: candidates at most.
    drafts: whether to draft annotations; regions: boxes, too.
    """

    every: float = 1.0
    cameras: tuple[str, ...] = ()
    limits: MotionLimits | None = field(default_factory=MotionLimits)
    steering_scale: float = 1.0
    vision: VisionSpec | None = None
    novelty: float = 0.02
    engine: EngineSpec | None = None
    second: EngineSpec | None = None
    questions: tuple[str, ...] = (DEFAULT_QUESTION,)
    same: tuple[tuple[str, str], ...] = ()
    opposite: tuple[tuple[str, str], ...] = ()
    confidence: float = 0.6
    likeness: Likeness = field(default_factory=Likeness)
    most: int = 1000
    drafts: bool = True
    regions: bool = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.every) and self.every > 0):
            raise InvalidRequest(f"--every is {self.every} s; it must be greater than 0")
        if not math.isfinite(self.steering_scale) or self.steering_scale == 0:
            raise InvalidRequest(f"--steering-scale is {self.steering_scale}; it must not be 0")
        if not 1 <= self.most <= 1_000_000:
            raise InvalidRequest(f"--most is {self.most}; it must be in 1 to 1000000")
        if not 0 < self.novelty <= 1:
            raise InvalidRequest(f"--novelty is {self.novelty}; it must be in (0, 1]")
        if self.confidence and not 0.5 < self.confidence <= 1:
            raise InvalidRequest(
                f"--confidence is {self.confidence}; it must be in (0.5, 1], or 0 for off"
            )
        if self.engine is None and (self.second or self.same or self.opposite):
            raise InvalidRequest("questions need a model: name one with --model")
        if not (self.limits or self.vision or self.engine):
            raise InvalidRequest("nothing is looked for; name a --model or leave --no-motion out")

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> AnnotationSettings:
        """The settings of to_json, also after they went through JSON."""
        fields = dict(row)
        for name, kind in (
            ("limits", MotionLimits),
            ("vision", VisionSpec),
            ("engine", EngineSpec),
            ("second", EngineSpec),
            ("likeness", Likeness),
        ):
            if fields[name] is not None:
                fields[name] = kind(**fields[name])
        for name in ("cameras", "questions"):
            fields[name] = tuple(fields[name])
        for name in ("same", "opposite"):
            fields[name] = tuple((first, second) for first, second in fields[name])
        return cls(**fields)

    @property
    def models(self) -> dict[str, EngineSpec | VisionSpec]:
        """The models that take part, by the names of their fields."""
        parts = {"engine": self.engine, "second": self.second, "vision": self.vision}
        return {name: spec for name, spec in parts.items() if spec is not None}

    @property
    def asked(self) -> tuple[str, ...]:
        """Every question that is asked of a frame, each once."""
        pairs = [question for pair in (*self.same, *self.opposite) for question in pair]
        return tuple(dict.fromkeys([*self.questions, *pairs]))
