# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""JSON schemas read strictly, into the plain form whose every word a grammar can hold.

Grammar compilers skip what they do not know, so that a constrained answer may still violate its
schema. Here a schema is first rewritten into a small form (enum, anyOf, and one type with the
keywords of that type); what cannot be said in it is refused by name instead of ignored, and a
schema that no text can satisfy (false, contradicting bounds, endless recursion) is refused as
such. The form may be narrower than the schema (no undeclared properties beside declared ones),
never wider.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator

from vila_ros.engine.json_schema import check_schema
from vila_ros.errors import InvalidSchema

MAX_NODES = 2000
"""Subschemas that a schema may have."""

MAX_REFERENCES = 100
"""Different places that "$ref"s may name."""

MAX_REPEATS = 1000
"""The most that minLength, maxLength, minItems and maxItems may be; grammars unroll them."""

ANNOTATIONS = frozenset(
    (
        "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default",
        "examples", "deprecated", "readOnly", "writeOnly",
    )
)  # fmt: skip
KEYWORDS = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
    "boolean": frozenset(),
    "null": frozenset(),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
}
FORMATS = frozenset({"date", "date-time", "uuid"})  # others are annotations, as in the standard
STRING_CHARACTER = (
    r"([ !#-\[\]-~\u00a0-\u07ff\u0900-\u0fff\u1000-\ud7ff\ue000-\uffff]" r'|\\["\\/bfnrt])'
)
"""A character of a JSON string as it is written: all of the basic plane but U+0800-U+08FF.

A pattern because xgrammar 0.2.8's own strings let through raw control characters (when their length
is limited) and bytes that are not UTF-8, as do its ranges that begin at U+0800."""

ALL_KEYWORDS = frozenset().union(*KEYWORDS.values())

Schema = dict[str, Any]


def plain_schema(text: str) -> Schema:
    """The plain form of a JSON schema's text.

    Raises InvalidSchema: not a JSON schema, a keyword that generation cannot hold to, too large, or
    satisfied by no text.
    """
    check_schema(text)
    return _Reader(json.loads(text)).read()


class _Reader:
    """Rewrites one schema. None stands for a schema that no value satisfies.

    References may be circular, so what they stand for is found in passes: at first none is known to
    have a value, and each pass adds those that have one built of known ones, until nothing changes
    (the least fixed point, which is right since JSON values are finite).
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._nodes = 0
        self._alive: frozenset[str] = frozenset()
        self._defs: dict[str, Schema | None] = {}

    def read(self) -> Schema:
        """The plain form of the whole."""
        while True:
            self._nodes, self._defs = 0, {}
            plain = self._plain(self._root, "$")
            alive = frozenset(name for name, found in self._defs.items() if found is not None)
            if alive == self._alive:
                break
            self._alive = alive
        if plain is None:
            raise InvalidSchema(
                "no text can satisfy the JSON schema; look for false, contradicting bounds or "
                "enums, and objects that must contain themselves"
            )
        names = {reference: f"d{i}" for i, reference in enumerate(sorted(alive))}
        defs = {name: _rename(self._defs[reference], names) for reference, name in names.items()}
        plain = _rename(plain, names)
        return {**plain, "$defs": defs} if defs else plain

    def _plain(self, schema: Any, path: str) -> Schema | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InvalidSchema(f"the JSON schema has more than {MAX_NODES} parts; simplify it")
        if schema is True:
            return {}
        if schema is False:
            return None
        said = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        for keyword in ("$ref", "anyOf", "oneOf", "allOf"):
            if keyword in said:
                return self._composed(keyword, said, path)
        if "enum" in said or "const" in said:
            return self._listed(schema, said, path)
        kinds = self._kinds(said, path)
        if kinds is None:
            return {}
        plain = [self._of_kind(kind, said, path) for kind in kinds]
        return _any_of([branch for branch in plain if branch is not None])

    def _composed(self, keyword: str, said: Schema, path: str) -> Schema | None:
        others = [key for key in said if key != keyword]
        if others:
            raise InvalidSchema(
                f"the JSON schema has {keyword} beside {', '.join(sorted(others))} at {path}, "
                "which generation cannot hold to together; write the combination out"
            )
        value = said[keyword]
        if keyword == "$ref":
            return self._reference(value)
        if keyword == "allOf" and len(value) > 1:
            raise InvalidSchema(
                f"the JSON schema has allOf of {len(value)} schemas at {path}, which generation "
                "cannot hold to; merge them into one"
            )
        branches = [self._plain(branch, f"{path}.{keyword}[{i}]") for i, branch in enumerate(value)]
        return _any_of([branch for branch in branches if branch is not None])

    def _reference(self, reference: str) -> Schema | None:
        if reference not in self._defs:
            if len(self._defs) == MAX_REFERENCES:
                raise InvalidSchema(
                    f"the JSON schema refers to more than {MAX_REFERENCES} places; simplify it"
                )
            self._defs[reference] = None
            self._defs[reference] = self._plain(self._resolve(reference), reference)
        return {"$ref": reference} if reference in self._alive else None

    def _resolve(self, reference: str) -> Any:
        if reference != "#" and not reference.startswith("#/"):
            raise InvalidSchema(
                f"the JSON schema refers to {reference!r}; generation follows # and #/… only"
            )
        found = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step)] if isinstance(found, list) else found[step]
        return found

    def _listed(self, schema: Schema, said: Schema, path: str) -> Schema | None:
        unknown = set(said) - ALL_KEYWORDS - {"enum", "const", "type"}
        if unknown:
            self._refuse(sorted(unknown)[0], path)
        values = said.get("enum", [said["const"]] if "const" in said else [])
        validator = Draft202012Validator(self._root).evolve(schema=schema)
        values = [value for value in values if validator.is_valid(value)]
        return {"enum": values} if values else None

    def _kinds(self, said: Schema, path: str) -> list[str] | None:
        """The types meant; None for any value at all."""
        kinds = said.get("type")
        if isinstance(kinds, str):
            kinds = [kinds]
        keywords = set(said) - {"type"}
        for keyword in sorted(keywords - ALL_KEYWORDS):
            self._refuse(keyword, path)
        if kinds is None:
            if not keywords:
                return None
            kinds = [kind for kind in KEYWORDS if keywords <= KEYWORDS[kind] and kind != "integer"]
            if len(kinds) != 1:
                raise InvalidSchema(f"the JSON schema says no type at {path}; add one")
        return list(kinds)

    def _refuse(self, keyword: str, path: str) -> None:
        raise InvalidSchema(
            f"the JSON schema uses {keyword!r} at {path}, which generation cannot hold to; remove "
            "it, or check the answer for it yourself"
        )

    def _of_kind(self, kind: str, said: Schema, path: str) -> Schema | None:
        own = {key: value for key, value in said.items() if key in KEYWORDS[kind]}
        if kind == "string":
            return _string(own, path)
        if kind in ("integer", "number"):
            return _number(kind, own)
        if kind == "array":
            return self._array(own, path)
        if kind == "object":
            return self._object(own, path)
        return {"type": kind}

    def _array(self, own: Schema, path: str) -> Schema | None:
        least, most = own.get("minItems", 0), own.get("maxItems", math.inf)
        _check_repeats(own, ("minItems", "maxItems"), path)
        prefix = []
        for i, item in enumerate(own.get("prefixItems", ())):
            plain = self._plain(item, f"{path}[{i}]")
            if plain is None:
                most = min(most, i)  # a longer array would have this item
                break
            prefix.append(plain)
        items = self._plain(own.get("items", True), f"{path}[*]")
        if items is None:
            most = min(most, len(prefix))
        if least > most:
            return None
        plain_array: Schema = {"type": "array", "items": items if items is not None else False}
        if prefix:
            plain_array["prefixItems"] = prefix[: None if most == math.inf else int(most)]
        if least:
            plain_array["minItems"] = least
        if most != math.inf:
            plain_array["maxItems"] = int(most)
        return plain_array

    def _object(self, own: Schema, path: str) -> Schema | None:
        declared = own.get("properties", {})
        required = list(own.get("required", ()))
        rest = self._plain(own.get("additionalProperties", not declared), f"{path}.*")
        properties: Schema = {}
        for name in (*declared, *(name for name in required if name not in declared)):
            if name in declared:
                plain = self._plain(declared[name], f"{path}.{name}")
            else:
                # Nothing is said of a required property that is not declared, unless the rest is.
                plain = self._plain(own.get("additionalProperties", True), f"{path}.{name}")
            if plain is not None:
                properties[name] = plain
            elif name in required:
                return None
        plain_object: Schema = {"type": "object", "properties": properties}
        plain_object["required"] = required
        plain_object["additionalProperties"] = rest if rest is not None else False
        return plain_object


def _rename(schema: Any, names: Mapping[str, str]) -> Any:
    """A plain schema whose references are to its own $defs."""
    if not isinstance(schema, dict):
        return schema
    renamed = dict(schema)
    if "$ref" in schema:
        renamed["$ref"] = f"#/$defs/{names[schema['$ref']]}"
    for keyword in ("anyOf", "prefixItems"):
        if keyword in schema:
            renamed[keyword] = [_rename(branch, names) for branch in schema[keyword]]
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            renamed[keyword] = _rename(schema[keyword], names)
    if "properties" in schema:
        properties = schema["properties"].items()
        renamed["properties"] = {name: _rename(value, names) for name, value in properties}
    return renamed


def _any_of(branches: list[Schema]) -> Schema | None:
    if len(branches) > 1:
        return {"anyOf": branches}
    return branches[0] if branches else None


def _check_repeats(own: Schema, keywords: tuple[str, ...], path: str) -> None:
    for keyword in keywords:
        if own.get(keyword, 0) > MAX_REPEATS:
            raise InvalidSchema(
                f"{keyword} is {own[keyword]} at {path}; generation holds to at most {MAX_REPEATS}"
            )


def _string(own: Schema, path: str) -> Schema | None:
    _check_repeats(own, ("minLength", "maxLength"), path)
    least, most = own.pop("minLength", 0), own.pop("maxLength", "")
    if most != "" and least > most:
        return None
    if "pattern" in own and (least or most != ""):
        raise InvalidSchema(
            f"the JSON schema has a pattern beside other keywords at {path}, which generation "
            "cannot hold to together; put lengths into the pattern, as in ^.{2,9}$"
        )
    if own.get("format") not in FORMATS:
        own = {key: value for key, value in own.items() if key != "format"}
    if "format" in own and (least or most != "" or "pattern" in own):
        raise InvalidSchema(
            f"the JSON schema has a format beside other keywords at {path}, which generation "
            "cannot hold to together; leave one of them"
        )
    if own:
        return {"type": "string", **own}
    return {"type": "string", "pattern": f"^{STRING_CHARACTER}{{{least},{most}}}$"}


def _number(kind: str, own: Schema) -> Schema | None:
    lowest = max(own.get("minimum", -math.inf), own.get("exclusiveMinimum", -math.inf))
    highest = min(own.get("maximum", math.inf), own.get("exclusiveMaximum", math.inf))
    open_low = own.get("exclusiveMinimum", -math.inf) == lowest
    open_high = own.get("exclusiveMaximum", math.inf) == highest
    if kind == "integer":
        plain: Schema = {"type": "integer"}
        if lowest != -math.inf:
            lowest = math.floor(lowest) + 1 if open_low else math.ceil(lowest)
            plain["minimum"] = lowest
        if highest != math.inf:
            highest = math.ceil(highest) - 1 if open_high else math.floor(highest)
            plain["maximum"] = highest
        return plain if lowest <= highest else None
    if lowest > highest or (lowest == highest and (open_low or open_high)):
        return None
    return {"type": "number", **own}
