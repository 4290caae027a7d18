# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts: structured answers of a model, and what becomes of answers that are none."""

import json

import pytest

from test.annotation.engines import BrightnessEngine
from test.annotation.test_questions import sight
from vila_ros.annotation.asking import Interviewer
from vila_ros.annotation.coda_lm import GROUPS, SUMMARY, empty_annotation
from vila_ros.annotation.drafting import AnswerSize, KnownBox, draft_annotation
from vila_ros.engine.torch_engine import TorchEngine
from vila_ros.errors import EngineDown

GENERAL = {**{group: [] for group in GROUPS}, SUMMARY: "a road"}
GENERAL["vehicles"] = [{"description": "a van", "explanation": "it turns"}]
REGIONS = [
    {"category_name": "car", "left": 0, "top": 0, "right": 500, "bottom": 250, SUMMARY: "a van"},
    {"category_name": "dog", "left": 900, "top": 0, "right": 100, "bottom": 250, SUMMARY: "none"},
]
ANSWERS = {
    "List what matters": json.dumps(GENERAL),
    "Mark the objects": json.dumps({"regions": REGIONS}),
    "Suggest": json.dumps({"driving_suggestion": "give way"}),
}


def draft(answers=ANSWERS, known=(), regions=True, **options):
    engine = BrightnessEngine("tiny", answers=answers, **options)
    return draft_annotation(Interviewer(engine), sight(0.5), "one", known, regions), engine


def test_a_draft_has_all_three_parts_and_the_answers_as_they_came():
    made, engine = draft()
    assert made.annotation["general_perception"] == GENERAL
    assert made.annotation["driving_suggestion"] == "give way"
    # Thousandths of an 8x8 frame; the box without an area is left out.
    assert made.annotation["region_perception"] == {
        "1": {SUMMARY: "a van", "box": [0, 0, 4, 2], "category_name": "car"}
    }
    assert (made.candidate_id, made.model, made.runtime) == ("one", "tiny", "echo")
    assert [answer.section for answer in made.answers] == [
        "general_perception", "region_perception", "driving_suggestion",
    ]  # fmt: skip
    assert json.loads(made.answers[0].text) == GENERAL
    assert all(request.json_schema for request in engine.requests)


def test_boxes_are_only_marked_where_they_are_wanted():
    made, engine = draft(regions=False)
    assert made.annotation["region_perception"] == {}
    assert len(engine.requests) == 2


def test_known_boxes_are_described_by_what_they_show():
    known = [KnownBox((2, 2, 4, 4), "traffic_cone"), KnownBox((0, 0, 2, 2), "dog")]
    shown = json.dumps({SUMMARY: "it lies there"})
    made, engine = draft({**ANSWERS, "shows: traffic cone": shown}, known)
    assert made.annotation["region_perception"] == {
        "1": {SUMMARY: "it lies there", "box": [2, 2, 4, 4], "category_name": "traffic_cone"},
        "2": {SUMMARY: "", "box": [0, 0, 2, 2], "category_name": "dog"},
    }
    asked = [request.messages[0].parts for request in engine.requests]
    shapes = [parts[0].pixels.shape for parts in asked]
    assert shapes[1] == (6, 6, 3)
    keys = [parts[0].key for parts in asked]
    assert len(set(keys[1:3])) == 2  # equal keys would promise equal pixels


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("I see a road", "is not JSON"),
        ("{}", "does not satisfy its JSON schema"),
        ('{"driving_suggestion": "drive<cut>', "cut at 1024 tokens"),
    ],
)
def test_an_answer_that_cannot_be_used_leaves_its_part_empty(answer, error):
    made, engine = draft({**ANSWERS, "Suggest": answer})
    assert made.annotation["driving_suggestion"] == ""
    assert made.annotation["general_perception"] == GENERAL
    failed = [each for each in made.answers if each.section == "driving_suggestion"]
    assert len(failed) == 2  # it is asked again for less
    assert failed[0].text == answer
    assert error in failed[0].error
    limits = [r.max_tokens for r in engine.requests if "Suggest" in r.messages[0].parts[1].text]
    assert limits == [1024, 768]


def test_a_runtime_without_structured_output_is_told_the_schema():
    made, engine = draft(structured=False)
    assert made.annotation["driving_suggestion"] == "give way"
    assert engine.requests[0].json_schema is None
    assert "Answer with JSON of this schema only" in engine.requests[0].messages[0].parts[1].text


def test_an_engine_that_is_down_is_no_empty_draft():
    class Down(BrightnessEngine):
        def generate(self, request):
            raise EngineDown("the worker died")
            yield

    with pytest.raises(EngineDown):
        draft_annotation(Interviewer(Down("tiny")), sight(0.5), "one")


def test_a_real_model_is_held_to_the_structure(golden):
    engine = TorchEngine(str(golden), device="cpu", threads=1, max_concurrency=1, compile=False)
    small = (AnswerSize(1, 8, 600),)
    made = draft_annotation(Interviewer(engine), sight(0.5), "one", regions=False, sizes=small)
    engine.close()
    assert [answer.error for answer in made.answers] == ["", ""]
    assert set(made.annotation) == set(empty_annotation())
    assert len(made.annotation["driving_suggestion"]) <= 8
