# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""vila-nano's recipe as data: which scenes, and what each stage tunes, for how long, on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vila_ros.errors import InvalidRequest
from vila_ros.training.nano.shards import BRIEF, CLIP, CROWD, STILL, ShardPlan

StageName = Literal["words", "align", "pretrain", "finetune"]
# Seeds of training scenes; whatever is held out has others.
FIRST_STILL, FIRST_CLIP, FIRST_CROWD, FIRST_BRIEF = 1_000_000, 1_500_000, 1_800_000, 1_900_000
LAST_SEED = 2_000_000


@dataclass(frozen=True)
class StageRecipe:
    """One stage. steps: of the optimizer. rate: the highest learning rate, reached after a
    twenty-fifth of the steps and lowered along a cosine. batch: pictures or sequences a step."""

    name: StageName
    steps: int
    rate: float
    batch: int


@dataclass(frozen=True)
class Recipe:
    """shards: what is rendered. clip_share: of the steps that read clips. cell_weight,
    scene_weight: of what is asked of pictures' tokens (see cells.py, scene_heads.py) in the loss.
    mean_every: of every how many steps of the last stage's second half the weights' mean is kept,
    which steadies what hangs on few samples, such as a minute's drive.
    """

    shards: tuple[ShardPlan, ...]
    stages: tuple[StageRecipe, ...]
    clip_share: float = 0.6
    cell_weight: float = 0.3
    scene_weight: float = 0.6
    mean_every: int = 8
    save_every: int = 100

    @property
    def steps(self) -> int:
        """Of all stages together."""
        return sum(stage.steps for stage in self.stages)


def plan_shards(
    stills: int, clips: int, size: int, clip_size: int, crowds: int = 0, briefs: int = 0
) -> tuple[ShardPlan, ...]:
    """Shards of `size` single views (crowds after the others) and of `clip_size` clips (brief ones
    after the others), until there are as many as asked.
    """
    if min(stills, clips, size, clip_size) < 1 or min(crowds, briefs) < 0:
        raise InvalidRequest("every number of scenes must be at least 1")
    return (
        *_shards("stills", STILL, FIRST_STILL, stills, size),
        *_shards("crowds", CROWD, FIRST_CROWD, crowds, size),
        *_shards("clips", CLIP, FIRST_CLIP, clips, clip_size),
        *_shards("briefs", BRIEF, FIRST_BRIEF, briefs, clip_size),
    )


def _shards(name: str, kind: str, first: int, count: int, size: int) -> list[ShardPlan]:
    return [
        ShardPlan(f"{name}_{number}", kind, first + done, min(size, count - done))
        for number, done in enumerate(range(0, count, size))
    ]


FULL = Recipe(
    shards=plan_shards(16_000, 2_400, 2_000, 400, crowds=6_000, briefs=3_200),
    stages=(
        StageRecipe("words", 100, 1e-3, 16),
        StageRecipe("align", 3000, 2e-3, 64),
        StageRecipe("pretrain", 120, 1e-3, 24),
        StageRecipe("finetune", 4300, 1e-3, 32),
    ),
)
# A minute on two cores: that every part works together, not that it learns much.
SHORT = Recipe(
    shards=plan_shards(24, 8, 24, 8, crowds=6, briefs=4),
    stages=(
        StageRecipe("words", 3, 1e-3, 4),
        StageRecipe("align", 6, 2e-3, 8),
        StageRecipe("pretrain", 3, 1e-3, 4),
        StageRecipe("finetune", 6, 1e-3, 4),
    ),
    save_every=4,
)
