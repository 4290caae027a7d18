# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe's stages: the published values, the schedule, and what is refused."""

import pytest

from vila_ros.errors import InvalidRequest
from vila_ros.training.stages import NVILA, STAGES, VILA15, Stage, choose_stages


def test_the_recipe_of_vila15():
    align, pretrain, sft = VILA15
    assert (align.tuned, align.learning_rate, align.version) == ({"projector"}, 1e-3, "plain")
    assert (pretrain.tuned, pretrain.learning_rate) == ({"projector", "language_model"}, 5e-5)
    assert (len(sft.tuned), sft.learning_rate) == (3, 1e-4)
    assert [stage.batch for stage in VILA15] == [256, 1024, 256]
    assert {(s.warmup, s.schedule, s.epochs, s.length) for s in VILA15} == {
        (0.03, "cosine", 1, 4096)
    }


def test_nvila_adds_a_vision_and_a_video_stage():
    assert NVILA[1].tuned == {"vision_tower", "projector"}
    assert NVILA[-1].name == "nvila-video"


def test_the_rate_rises_then_falls_as_a_cosine():
    stage = Stage("s", frozenset({"projector"}), 1.0, 1, warmup=0.1)
    rates = [stage.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001
    assert Stage("s", frozenset({"projector"}), 1.0, 1, schedule="constant").rate(99, 100) == 1.0


def test_steps_cover_the_data():
    stage = Stage("s", frozenset({"projector"}), 1.0, 4, epochs=2)
    assert [stage.steps(samples) for samples in (1, 2, 3)] == [1, 1, 2]


def test_stages_are_chosen_by_name():
    assert choose_stages(["vila1.5"]) == VILA15
    assert [s.name for s in choose_stages(["align", "finetune"])] == ["align", "finetune"]
    with pytest.raises(InvalidRequest, match="known are align, pretrain"):
        choose_stages(["alignment"])
    with pytest.raises(InvalidRequest, match="named twice"):
        choose_stages(["sft", "vila1.5"])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"batch": 0}, "batch is 0"),
        ({"warmup": 2}, "warmup is 2"),
        ({"schedule": "linear"}, "use cosine or constant"),
        ({"tuned": frozenset()}, "tunes nothing"),
        ({"tuned": frozenset({"head"})}, "tunes head"),
    ],
)
def test_a_stage_out_of_range_is_refused(changes, complaint: str):
    with pytest.raises(InvalidRequest, match=complaint):
        STAGES["sft"].changed(**changes)
