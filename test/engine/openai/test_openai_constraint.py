# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Schemas and choices: each server's own way of constraining, and the check of what comes back."""

import json
import math

import pytest

from test.engine.openai.conftest import answer, ask
from vila_ros.engine.openai_constraint import Constraint, Form, choice_probabilities
from vila_ros.engine.openai_stream import TokenChances
from vila_ros.errors import InvalidOutput, InvalidSchema

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"cars": {"type": "integer"}, "night": {"type": "boolean"}},
        "required": ["cars", "night"],
        "additionalProperties": False,
    }
)
CHOICES = ("turn left", "turn right", "stop (now)")


@pytest.mark.parametrize("form", ["json_schema", "json"])
def test_a_schema_is_told_in_the_form_that_an_unknown_server_takes(connect, form):
    text, _ = answer(connect(f"takes={form}"), ask("scene?", json_schema=SCHEMA))
    assert json.loads(text) == {"cars": 0, "night": False}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("vllm", "structured_outputs"),
        ("vllm", "guided"),
        ("vllm", "json_schema"),
        ("llama_cpp", "json_object"),
        ("trtllm", "json"),
        ("sglang", "json_schema"),
    ],
)
def test_each_kind_of_server_has_its_forms_for_schemas(connect, kind, form):
    text, _ = answer(connect(f"takes={form}", kind=kind), ask("scene?", json_schema=SCHEMA))
    assert json.loads(text) == {"cars": 0, "night": False}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("auto", "json_schema"),
        ("vllm", "structured_outputs"),
        ("vllm", "guided"),
        ("llama_cpp", "grammar"),
        ("trtllm", "regex_format"),
        ("trtllm", "json"),
        ("sglang", "regex"),
    ],
)
def test_each_kind_of_server_has_its_forms_for_choices(connect, kind, form):
    engine = connect(f"takes={form}", kind=kind)
    assert answer(engine, ask("where?", choices=CHOICES))[0] == "turn left"


@pytest.mark.parametrize(
    ("owner", "field"),
    [("vllm", "structured_outputs"), ("sglang", "regex"), ("llamacpp", "grammar"),
     ("tensorrt_llm", "response_format"), ("someone", "response_format")],
)  # fmt: skip
def test_the_kind_is_recognised_by_the_owner_of_its_models(connect, server, user, owner, field):
    answer(connect(f"owner={owner}"), ask("left", choices=("left", "right")))
    assert field in server.entries("asked", user)[0]["fields"]


def test_the_form_that_worked_is_remembered(connect, server, user):
    engine = connect("takes=json")
    for _ in range(3):
        answer(engine, ask("scene?", json_schema=SCHEMA))
    assert len(server.entries("asked", user)) == 4  # one refusal, in the first question


def test_a_server_that_ignores_schemas_is_told_in_words(connect):
    engine = connect("obeys_words")
    text, _ = answer(engine, ask("scene?", json_schema=SCHEMA))
    assert json.loads(text) == {"cars": 0, "night": False}
    assert answer(engine, ask("where?", choices=CHOICES))[0] == "turn left"


def test_an_answer_that_ignores_the_schema_is_never_an_answer(connect):
    given = []
    stream = connect("ignores_schema").generate(ask("scene?", json_schema=SCHEMA))
    with pytest.raises(InvalidOutput, match="not JSON"):
        given.extend(stream)
    assert "".join(chunk.text for chunk in given) == "certainly! here is prose"
    assert all(chunk.finish_reason is None for chunk in given)


def test_an_answer_cut_at_max_tokens_is_not_tried_again(connect, server, user):
    request = ask("scene?", json_schema=SCHEMA, max_tokens=2)
    with pytest.raises(InvalidOutput):
        list(connect("ignores_schema").generate(request))
    assert len(server.entries("asked", user)) == 1


def test_nothing_of_a_constrained_answer_is_given_out_before_it_is_whole(connect):
    request = ask("scene?", json_schema=SCHEMA)
    texts = [chunk.text for chunk in connect("takes=json_schema").generate(request)]
    assert len(list(filter(None, texts))) == 1


def test_a_constrained_answer_that_breaks_off_is_tried_elsewhere(connect):
    engine = connect("half_then_disconnect", "takes=json_schema", max_concurrency=1)
    for _ in range(2):
        text, _ = answer(engine, ask("scene?", json_schema=SCHEMA))
        assert json.loads(text) == {"cars": 0, "night": False}


def test_what_is_no_schema_is_refused_without_asking(connect, server, user):
    with pytest.raises(InvalidSchema):
        answer(connect("ok"), ask("x", json_schema='{"type": 5}'))
    assert not server.entries("asked", user)


@pytest.mark.parametrize(
    "said", ["turn left", " Turn Left.", '"turn left"', "'turn left'", "TURN LEFT!\n"]
)
def test_a_choice_is_recognised_in_what_models_say(said):
    assert Constraint(choices=CHOICES).accept(said) == "turn left"


@pytest.mark.parametrize("said", ["", "turn", "turn left or turn right", "[1]", "1"])
def test_what_is_no_choice_is_not_taken_for_one(said):
    with pytest.raises(InvalidOutput, match="none of the choices"):
        Constraint(choices=CHOICES).accept(said)


def test_choices_that_differ_in_case_alone_are_told_apart():
    constraint = Constraint(choices=("A", "a"))
    assert constraint.accept("a") == "a"
    assert constraint.accept("A.") == "A"


def test_json_is_found_in_a_code_fence():
    constraint = Constraint(schema='{"type": "array"}')
    assert constraint.accept("```json\n[1]\n```") == "[1]"
    assert constraint.accept("```\n[1]\n```\n") == "[1]"


def test_choices_are_quoted_for_each_form():
    constraint = Constraint(choices=('say "hi"', "a|b."))
    assert constraint.fields(Form.GRAMMAR) == {"grammar": 'root ::= "say \\"hi\\"" | "a|b."'}
    assert constraint.fields(Form.REGEX) == {"regex": '(say "hi"|a\\|b\\.)'}


def at(token, **alternatives):
    return TokenChances(token, {key: math.log(p) for key, p in alternatives.items()})


def test_probabilities_of_single_token_choices():
    chances = [at("yes", yes=0.6, no=0.2, maybe=0.2)]
    assert choice_probabilities(("no", "yes"), chances) == pytest.approx((0.25, 0.75))


def test_probabilities_of_choices_that_begin_alike():
    chances = [
        TokenChances("turn", {"turn": math.log(0.8), "stop": math.log(0.2)}),
        TokenChances(" left", {" left": math.log(0.75), " right": math.log(0.25)}),
    ]
    found = choice_probabilities(("turn left", "turn right", "stop"), chances)
    assert found == pytest.approx((0.6, 0.2, 0.2))


@pytest.mark.parametrize("said", ["</s>", " idea"])
def test_probabilities_where_one_choice_begins_another(said):
    chances = [
        TokenChances(" no", {" no": math.log(0.9), " yes": math.log(0.1)}),
        TokenChances(said, {"</s>": math.log(0.7), " idea": math.log(0.3)}),
    ]
    found = choice_probabilities(("no", "no idea", "yes"), chances)
    assert found == pytest.approx((0.63, 0.27, 0.1))


def test_probabilities_of_choices_in_json_quotes():
    chances = [
        TokenChances('"', {'"': 0.0}),
        TokenChances("left", {"left": math.log(0.7), "right": math.log(0.3)}),
    ]
    assert choice_probabilities(("left", "right"), chances) == pytest.approx((0.7, 0.3))


def test_no_probabilities_where_they_cannot_be_told():
    shared = [TokenChances("stop", {"stop": math.log(0.5), "turn": math.log(0.5)})]
    assert choice_probabilities(("turn left", "turn right", "stop"), shared) == ()
    assert choice_probabilities(("yes", "no"), []) == ()
    assert choice_probabilities(("yes", "no"), [TokenChances("yes", {})]) == ()


def test_probabilities_come_with_the_answer_where_the_server_gives_them(connect):
    _, last = answer(connect("choice_chances"), ask("where?", choices=("right", "left")))
    assert last.choice_probabilities == pytest.approx((1 / 3, 2 / 3))


def test_a_server_without_log_probabilities_still_answers(connect):
    engine = connect("always-lacks=logprobs,top_logprobs")
    assert not engine.capabilities.choice_probabilities
    text, last = answer(engine, ask("left", choices=("left", "right")))
    assert (text, last.choice_probabilities) == ("left", ())
