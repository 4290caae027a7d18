# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is a JSON schema, and what satisfies it."""

import json

import pytest

from vila_ros.engine.json_schema import MAX_SCHEMA_CHARACTERS, check_schema, validate_json
from vila_ros.errors import InvalidOutput, InvalidSchema

PERSON = json.dumps(
    {
        "type": "object",
        "properties": {"people": {"type": "integer", "minimum": 0}},
        "required": ["people"],
        "additionalProperties": False,
    }
)


def test_a_schema_and_an_answer_that_satisfies_it():
    check_schema(PERSON)
    validate_json('{"people": 3}', PERSON)
    check_schema('{"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}')


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        ("false", "must be an object"),
        ('{"type": "thing"}', r"at \$\.type"),
        ('{"minimum": NaN}', "NaN is not a JSON value"),
        ('{"$ref": "https://example.com/schema"}', "nothing outside the schema is fetched"),
        ('{"items": {"$ref": "#/$defs/none"}}', "which it does not have"),
        (json.dumps({"const": "x" * MAX_SCHEMA_CHARACTERS}), f"at most {MAX_SCHEMA_CHARACTERS}"),
        ('{"not": ' * 5000 + "{}" + "}" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_schema_is_refused(schema, said):
    with pytest.raises(InvalidSchema, match=said):
        check_schema(schema)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ('{"people": 3', "It may have been cut at max_tokens"),
        ('{"people": 3} and more', "not JSON"),
        ('{"people": NaN}', "NaN is not a JSON value"),
        ('{"people": -1}', r"at \$\.people: -1 is less than the minimum of 0"),
        ('{"people": "three"}', r"at \$\.people"),
        ("{}", "'people' is a required property"),
        ('{"people": 1, "cars": 2}', "'cars' was unexpected"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_does_not_satisfy_its_schema_is_refused(text, said):
    with pytest.raises(InvalidOutput, match=said):
        validate_json(text, PERSON)


def test_a_reference_without_end_is_the_schemas_fault():
    with pytest.raises(InvalidSchema, match="never ends"):
        validate_json("1", '{"$ref": "#"}')
