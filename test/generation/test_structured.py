"""Whatever the model, an answer under a schema satisfies it; schemas that cannot be are refused."""

import json

import jsonschema
import pytest
import torch

from vila_ros.engine.grammar_schema import plain_schema
from vila_ros.engine.interface import FinishReason
from vila_ros.engine.json_schema import validate_json
from vila_ros.engine.structured import Grammars
from vila_ros.errors import EngineFailed, InvalidSchema

REPORT = {
    "type": "object",
    "properties": {
        "hazard": {"type": "boolean"},
        "distance": {"type": "number", "minimum": 0, "maximum": 100},
        "kind": {"enum": ["car", "person", None, 3]},
        "where": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 2},
        "note": {"type": "string", "maxLength": 6},
    },
    "required": ["hazard", "kind", "note"],
}
CHAIN = {
    "$defs": {
        "link": {
            "type": "object",
            "properties": {"next": {"anyOf": [{"$ref": "#/$defs/link"}, {"type": "null"}]}},
            "required": ["next"],
        }
    },
    "$ref": "#/$defs/link",
}
SATISFIABLE = [
    REPORT,
    CHAIN,
    {"type": "integer", "exclusiveMinimum": 3, "maximum": 5},
    {"type": "number", "exclusiveMinimum": 0.5, "maximum": 0.75},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "pattern": "^[a-c]{2,3}$"},
    {"type": "string", "format": "date"},
    {"type": ["string", "null"], "maxLength": 2},
    {"type": "array", "prefixItems": [{"const": 1}], "items": {"type": "null"}, "maxItems": 3},
    {"type": "array", "items": False},
    {"oneOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"const": "no"}]},
    {"type": "object", "required": ["z"], "properties": {"y": {"type": "null"}, "z": {"const": 1}}},
    {"enum": ["a", 5, "b"], "type": "string"},
    {"type": "object", "properties": {"enum": {"type": "boolean"}, "$ref": {"type": "null"}}},
    {"minimum": 1, "maximum": 2},
]
UNSATISFIABLE = [
    {"enum": []},
    {"type": "integer", "minimum": 5, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": 1, "exclusiveMaximum": 1},
    {"type": "string", "minLength": 5, "maxLength": 2},
    {"type": "array", "minItems": 3, "maxItems": 1},
    {"type": "array", "minItems": 1, "items": False},
    {"type": "string", "enum": [1, 2]},
    {"enum": ["a"], "const": "b"},
    {"type": "object", "properties": {"a": False}, "required": ["a"]},
    {"type": "object", "required": ["z"], "additionalProperties": False},
    {"$ref": "#"},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
    {"anyOf": [{"enum": []}, {"type": "integer", "minimum": 1, "maximum": 0}]},
]
UNSUPPORTED = [
    ({"not": {"type": "string"}}, "'not' at \\$"),
    ({"type": "integer", "multipleOf": 3}, "multipleOf"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"properties": {"a": {"if": {}, "then": {}}}}, r"'if' at \$\.a"),
    ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "allOf of 2"),
    ({"anyOf": [{}], "minimum": 2}, "anyOf beside minimum"),
    ({"type": "string", "pattern": "a", "maxLength": 2}, "pattern beside"),
    ({"type": "string", "maxLength": 10**9}, "maxLength is 1000000000"),
    ({"maxLength": 3, "minimum": 2}, "says no type"),
]


def dumped(schema):
    return json.dumps(schema)[:60]


@pytest.mark.parametrize("schema", SATISFIABLE, ids=dumped)
def test_random_answers_satisfy_their_schema(vila, schema):
    """A model that would say anything: random logits at every step."""
    vocab = vila.language_model.config.vocab_size
    grammars = Grammars(vila.tokenizer, vocab, vila.stop_token_ids)
    random = torch.Generator().manual_seed(0)
    for _ in range(10):
        constraint = grammars.json_constraint(json.dumps(schema))
        tokens = []
        while not constraint.complete():
            logits = torch.randn(vocab, generator=random)
            # Ends now and then, else recursion may not.
            logits[list(vila.stop_token_ids)] += 3
            constraint.apply(logits)
            token = int(logits.argmax())
            if token in vila.stop_token_ids:
                break
            constraint.accept(token)
            tokens.append(token)
            assert len(tokens) < 400
        text = vila.tokenizer.decode(tokens, skip_special_tokens=True)
        jsonschema.validate(json.loads(text), schema)


@pytest.mark.parametrize("schema", UNSATISFIABLE, ids=dumped)
def test_a_schema_that_no_text_satisfies_is_refused(schema):
    with pytest.raises(InvalidSchema, match="no text can satisfy"):
        plain_schema(json.dumps(schema))


@pytest.mark.parametrize(("schema", "message"), UNSUPPORTED, ids=dumped)
def test_what_generation_cannot_hold_to_is_refused_by_name(schema, message):
    with pytest.raises(InvalidSchema, match=message):
        plain_schema(json.dumps(schema))


@pytest.mark.parametrize("text", ["", "nope", "[1]", '{"type": "foo"}', '{"$ref": "http://x/y"}'])
def test_what_is_no_schema_is_refused(text):
    with pytest.raises(InvalidSchema):
        plain_schema(text)


def test_a_schema_of_too_many_parts_is_refused():
    properties = {f"p{i}": {} for i in range(2100)}
    with pytest.raises(InvalidSchema, match="more than 2000 parts"):
        plain_schema(json.dumps({"properties": properties}))


def test_impossible_branches_and_options_are_left_out():
    schema = {
        "type": "object",
        "properties": {"a": False, "b": {"anyOf": [{"enum": []}, {"type": "null"}]}},
    }
    assert plain_schema(json.dumps(schema))["properties"] == {"b": {"type": "null"}}


def test_an_answer_is_complete_when_only_its_end_may_follow(vila):
    """So that no forward is spent on a token that is certain."""
    grammars = Grammars(vila.tokenizer, vila.language_model.config.vocab_size, vila.stop_token_ids)
    for schema, text, complete in [
        ('{"const": "stop"}', '"stop"', True),
        ('{"const": "stop"}', '"stop', False),
        ('{"type": "integer"}', "12", False),
        ('{"type": "object", "properties": {}}', "{}", True),
    ]:
        constraint = grammars.json_constraint(schema)
        for token in vila.tokenizer.encode(text, add_special_tokens=False):
            constraint.accept(token)
        assert constraint.complete() == complete


def test_a_token_against_the_grammar_is_an_error(vila):
    vocab = vila.language_model.config.vocab_size
    grammars = Grammars(vila.tokenizer, vocab, vila.stop_token_ids)
    constraint = grammars.json_constraint('{"type": "null"}')
    with pytest.raises(EngineFailed, match="against its grammar"):
        constraint.accept(vila.tokenizer.encode("x", add_special_tokens=False)[0])


def test_answers_under_a_schema_beside_free_ones(engine, ask, answer, images):
    """Greedy and sampled, in one batch with requests that have no schema."""
    schema = json.dumps(REPORT)
    free = answer(engine.generate(ask("what?", images[:1])))[0]
    streams = [
        engine.generate(
            ask(
                "report",
                images[i : i + 1],
                request_id=f"j{i}",
                json_schema=schema,
                temperature=float(i % 2),
                seed=i,
                max_tokens=300,
            )
        )
        for i in range(4)
    ]
    beside = engine.generate(ask("what?", images[:1], request_id="free"))
    for stream in streams:
        text, last = answer(stream)
        validate_json(text, schema)
        assert last.finish_reason is FinishReason.STOP
    assert answer(beside)[0] == free


def test_an_answer_cut_at_max_tokens_says_so(engine, ask, answer):
    schema = '{"type": "array", "items": {"const": "a long word"}, "minItems": 9}'
    text, last = answer(engine.generate(ask("list", json_schema=schema, max_tokens=5)))
    assert (last.finish_reason, last.tokens) == (FinishReason.LENGTH, 5)
    assert text.startswith("[")


def test_a_bad_schema_raises_from_the_stream(engine, ask):
    stream = engine.generate(ask("what?", json_schema='{"enum": []}'))
    with pytest.raises(InvalidSchema):
        next(stream)
