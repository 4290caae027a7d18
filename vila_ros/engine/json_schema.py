# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of answers: is this one, and does a text satisfy it? Needs no model and no torch."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import exceptions, validators
from jsonschema.protocols import Validator
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from vila_ros.errors import InvalidOutput, InvalidSchema

MAX_SCHEMA_CHARACTERS = 65536
_SHOWN_CHARACTERS = 200


def check_schema(schema: str) -> None:
    """Raise InvalidSchema unless schema is the text of a JSON schema that some text can satisfy.

    The dialect is the one named by "$schema", else the newest that jsonschema knows. References
    ("$ref") must stay inside the schema: nothing is fetched.
    """
    _validator(schema)


def validate_json(text: str, schema: str) -> None:
    """Raise InvalidOutput unless text is one JSON value that satisfies the schema.

    Raises InvalidSchema as check_schema does.
    """
    validator = _validator(schema)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidOutput("The answer is JSON nested too deeply to be read.") from None
    except ValueError as error:
        raise InvalidOutput(
            f"The answer is not JSON ({error}): {_shown(text)}. It may have been cut at "
            "max_tokens; raise max_tokens or ask for a smaller object."
        ) from None
    try:
        worst = exceptions.best_match(validator.iter_errors(value))
    except (Unresolvable, RecursionError):
        raise InvalidSchema("The JSON schema has a reference that never ends.") from None
    if worst is not None:
        raise InvalidOutput(
            f"The answer does not satisfy its JSON schema at {worst.json_path}: "
            f"{_shown(worst.message)}."
        )


@lru_cache(maxsize=32)
def _validator(schema: str) -> Validator:
    """The schema, checked and ready to validate; the same few schemas come again and again."""
    if len(schema) > MAX_SCHEMA_CHARACTERS:
        raise InvalidSchema(
            f"The JSON schema has {len(schema)} characters; at most {MAX_SCHEMA_CHARACTERS}."
        )
    try:
        loaded: Any = json.loads(schema, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidSchema("The JSON schema is nested too deeply to be read.") from None
    except ValueError as error:
        raise InvalidSchema(f"The JSON schema is not JSON: {error}.") from None
    if not isinstance(loaded, dict):
        raise InvalidSchema(
            f'The JSON schema must be an object such as {{"type": "object"}}; it is '
            f"{_shown(schema)}."
        )
    kind = validators.validator_for(loaded)
    try:
        kind.check_schema(loaded)
    except exceptions.SchemaError as error:
        raise InvalidSchema(
            f"Not a JSON schema, at {error.json_path}: {_shown(error.message)}."
        ) from None
    except RecursionError:
        raise InvalidSchema("The JSON schema is nested too deeply to be read.") from None
    _check_references(loaded)
    # An explicit registry, for jsonschema's own default fetches remote references.
    return kind(loaded, registry=Registry())


def _check_references(schema: dict[str, Any]) -> None:
    """Raise InvalidSchema for a "$ref" out of the schema, or to a place that it does not have."""
    root = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    pending: list[Any] = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
            reference = value.get("$ref")
            if not isinstance(reference, str):
                continue
            if not reference.startswith("#"):
                raise InvalidSchema(
                    f"The JSON schema refers to {_shown(reference)}; a reference must start with "
                    "#, for nothing outside the schema is fetched: put it under $defs."
                )
            try:
                root.lookup(reference)
            except Unresolvable:
                raise InvalidSchema(
                    f"The JSON schema refers to {_shown(reference)}, which it does not have."
                ) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
