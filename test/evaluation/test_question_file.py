# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question file says what is asked and expected; an error names its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from test.evaluation.conftest import QUESTIONS
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.plan import AskPlan, Schedule, plan_from
from vila_ros.evaluation.question_file import read_question_file
from vila_ros.evaluation.run import planned_questions
from vila_ros.evaluation.types import KINDS
from vila_ros.perception.types import Sampling


@pytest.fixture
def read(tmp_path):
    def reader(text: str):
        path = tmp_path / "q.yaml"
        path.write_text(text)
        return read_question_file(path)

    return reader


def test_a_file_of_all_kinds(read):
    file = read(QUESTIONS)
    assert file.title == "A short drive"
    by_id = {question.id: question for question in file.questions}
    assert [question.expect.kind for question in file.questions] == [
        "choice", "number", "choice", "event", "text", "fields",
    ]  # fmt: skip
    sign = by_id["stop_sign"]
    # yes and no are words here, whatever YAML takes them for.
    assert sign.fields["choices"] == ["yes", "no"]
    assert (sign.fields["cameras"], sign.fields["window"]) == (["front"], 1.0)
    assert sign.schedule == Schedule(every=1.0)
    assert sign.expect.sources[""].topic.origin == "q.yaml:8"
    assert by_id["cone_near"].expect.when == "yes"
    assert by_id["cone_near"].schedule.every == 0.5
    assert by_id["speed"].expect.sources[""].bins.choice(10.0) == "fast"
    assert by_id["speed"].expect.sources[""].bins.choice(9.99) == "slow"
    assert by_id["weather"].schedule == Schedule(at=(0.4, 2.0))
    assert json.loads(by_id["scene"].fields["json_schema"])["required"] == ["road"]


def test_the_documentations_example_is_one(tmp_path):
    text = (Path(__file__).parent.parent.parent / "docs" / "evaluation.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "q.yaml").write_text(example)
    (tmp_path / "scene.json").write_text('{"type": "object"}')
    file = read_question_file(tmp_path / "q.yaml")
    assert len(file.questions) == 7
    assert {question.expect.kind for question in file.questions} == set(KINDS)
    assert len(file.thresholds) == 5


def test_labels_are_asked_of_their_recording_alone(read):
    file = read(QUESTIONS)
    schedules = {
        name: {each.id: each.schedule.at for each in planned_questions(file.questions, name)}
        for name in ("drive_mcap", "other")
    }
    assert schedules["drive_mcap"]["weather"] == (0.4, 2.0)
    assert schedules["other"]["weather"] == (0.4,)


def test_questions_can_be_of_some_recordings(read):
    text = "questions: [{id: a, ask: what, every: 1, text: x, recordings: [city_*, 'b?']}]"
    (question,) = read(text).questions
    assert planned_questions([question], "city_1")
    assert planned_questions([question], "b2")
    assert not planned_questions([question], "country")


def test_a_plan_survives_its_way_to_a_worker(read):
    file = read(QUESTIONS)
    questions = planned_questions(file.questions, "drive_mcap")
    plan = AskPlan("/bag", EngineSpec("torch", "m", {"threads": 1}), questions, 1, 5, 0, 9)
    task = plan.task("one")
    again = plan_from(json.loads(json.dumps(dict(task.arguments))))
    assert again == plan
    assert again.questions[0].question(7).seed == 7
    assert again.questions[0].question(7).sampling is Sampling.DEFAULT


def test_a_schema_may_stand_in_a_file_beside_it(read, tmp_path):
    (tmp_path / "s.json").write_text('{"type": "object"}')
    text = "questions: [{id: a, ask: what, every: 1, json_schema: %s, fields: {x: 1}}]"
    assert read(text % "s.json").questions[0].fields["json_schema"] == '{"type": "object"}'
    with pytest.raises(InvalidRequest, match=r"q.yaml:1: the schema 'none.json' cannot be read"):
        read(text % "none.json")
    with pytest.raises(InvalidRequest, match=r"must lie beside the question file"):
        read(text % "../../etc/passwd")


GOOD = "  - {id: a, ask: what, every: 1s, choices: [x, y], choice: x}\n"


def test_thresholds(read):
    text = (
        f"questions:\n{GOOD}thresholds:\n  - a accuracy >= 80 %\n  - a latency_p95 < 2s\n"
        "  - all answered >= 0.95\n"
    )
    found = [
        (each.question, each.metric, each.comparison, each.limit) for each in read(text).thresholds
    ]
    assert found == [
        ("a", "accuracy", ">=", 0.8),
        ("a", "latency_p95", "<", 2.0),
        ("all", "answered", ">=", 0.95),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"q.yaml:1: the file is empty"),
        ("questions: [", r"q.yaml:1: no YAML: "),
        ("a: 1\nquestions:\n\t- x", r"q.yaml:3: no YAML: "),
        ("[1]", r"q.yaml:1: a question file must be 'name: value' lines, not a list"),
        ("title: x", r"q.yaml:1: there are no 'questions'"),
        ("questions: []", r"q.yaml:1: there is no question"),
        ("version: 2\nquestions: []", r"q.yaml:1: version is '2'; this release reads 1"),
        ("question:\n" + GOOD, r"q.yaml:1: a question file has no 'question'; did you mean 'quest"),
        ("questions:\n  - hello", r"q.yaml:2: a question must be 'name: value' lines"),
        ("questions:\n  - ask: What?", r"q.yaml:2: the question has no 'id'"),
        ("questions:\n" + GOOD + GOOD, r"q.yaml:3: the id 'a' is that of line 2 as well"),
        ("questions:\n  - id: a\n    id: b", r"q.yaml:3: 'id' is given twice, first in line 2"),
        (
            "questions:\n  - id: a\n    ask: What?\n    evry: 1s\n    text: x",
            r"q.yaml:4: a question has no 'evry'; did you mean 'every'",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s",
            r"q.yaml:2: the question 'a' needs one of text, choice, number, fields, event",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, text: x, number: 3}",
            r"q.yaml:2: .*; it has text and number",
        ),
        (
            "questions:\n  - {id: a, ask: what, text: x}",
            r"q.yaml:2: when is it asked\? Write 'every: 2s'",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: soon, text: x}",
            r"q.yaml:2: every is soon; write a time such as 2s",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, choice: x}",
            r"q.yaml:2: a 'choice' needs 'choices'",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    choices: [x, y]\n"
            "    choice: z",
            r"q.yaml:6: 'z' is none of the choices: x, y",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    choices: [x, x]\n"
            "    choice: x",
            r"q.yaml:2: The choice 'x' is given twice",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, number: 3}",
            r"q.yaml:2: a 'number' needs a 'tolerance'",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, number: three, tolerance: 1}",
            r"q.yaml:2: the number must be a number, not 'three'",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    choices: [x]\n"
            "    choice:\n      topic: /t\n      value: data..x",
            r"q.yaml:8: the path 'data..x' is not understood",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    choices: [x]\n"
            "    choice: {topic: /t, bins: {z: [0, 1]}}",
            r"q.yaml:6: 'z' is none of the choices: x",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    choices: [x]\n"
            "    choice: {topic: /t, bins: {x: [1, 0]}}",
            r"q.yaml:6: the range of 'x' is empty: 1 is not below 0",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, event: {at: 3, tolerance: 1s}}",
            r"q.yaml:2: an event needs 'when'",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, fields: {x: 1}}",
            r"q.yaml:2: 'fields' need a 'json_schema'",
        ),
        (
            "questions:\n  - id: a\n    ask: What?\n    every: 1s\n    text:\n      labels:\n"
            "        - {at: 1, was: x}",
            r"q.yaml:7: a label has no 'was'; there are recording, at, is",
        ),
        (
            f"questions:\n{GOOD}thresholds:\n  - a acuracy > 1",
            r"q.yaml:4: 'a' has no metric 'acuracy'; did you mean 'accuracy'",
        ),
        (
            f"questions:\n{GOOD}thresholds:\n  - b accuracy > 1",
            r"q.yaml:4: there is no question 'b'",
        ),
        (
            f"questions:\n{GOOD}thresholds:\n  - a is good",
            r"q.yaml:4: the threshold 'a is good' is not 'QUESTION METRIC >= NUMBER'",
        ),
        (
            "questions:\n  - {id: a, ask: what, every: 1s, text: x, temperature: 9}",
            r"q.yaml:2: temperature is 9; it must be from 0 to 2",
        ),
        (
            "defaults: {max_frames: 1, cameras: [a, b]}\n"
            "questions:\n  - {id: a, ask: what, every: 1s, text: x}",
            r"q.yaml:3: The budget is 1 frames for 2 cameras",
        ),
    ],
)
def test_errors_name_file_and_line(read, text, says):
    with pytest.raises(InvalidRequest, match=says):
        read(text)


def test_values_that_multiply_are_bounded(read, monkeypatch):
    monkeypatch.setattr("vila_ros.evaluation.yaml_lines.MAX_NODES", 2000)
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for number in range(8):
        before = "a" if number == 0 else f"b{number - 1}"
        text += f"b{number}: &b{number} [{', '.join([f'*{before}'] * 10)}]\n"
    with pytest.raises(InvalidRequest, match="more than 2000 values"):
        read(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidRequest, match=r"none.yaml' cannot be read: No such file"):
        read_question_file(tmp_path / "none.yaml")
