# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an answer must satisfy: how it is told to a server, and the check of what comes back.

Servers constrain by different request fields, ignore some silently, or have none at all; so the
answer is checked here, always.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vila_ros.engine.interface import GenerationRequest
from vila_ros.engine.json_schema import check_schema, validate_json
from vila_ros.engine.openai_stream import TokenChances
from vila_ros.errors import InvalidOutput, InvalidRequest

_REGEX_SPECIAL = frozenset("\\.^$*+?{}[]|()")


class Form(Enum):
    """A request field by which some server constrains its answers."""

    JSON_SCHEMA = "response_format of type json_schema"  # OpenAI, vLLM, SGLang, llama.cpp
    JSON = "response_format of type json"  # every trtllm-serve
    JSON_OBJECT = "response_format of type json_object with a schema"  # older llama.cpp
    REGEX_FORMAT = "response_format of type regex"  # trtllm-serve 1.1 on
    REGEX = "regex"  # SGLang
    STRUCTURED_OUTPUTS = "structured_outputs"  # vLLM 0.11 on
    GUIDED = "guided_json and guided_choice"  # vLLM before 0.12
    GRAMMAR = "grammar"  # llama.cpp


@dataclass(frozen=True)
class Constraint:
    """Either a JSON schema (its text) or choices."""

    schema: str | None = None
    choices: tuple[str, ...] = ()

    def allows(self, form: Form) -> bool:
        """Whether the form can express this constraint."""
        if self.choices:
            return True
        return form not in (Form.REGEX_FORMAT, Form.REGEX, Form.GRAMMAR)

    def fields(self, form: Form) -> dict[str, Any]:
        """Top-level fields of the request that tell this constraint in the form."""
        schema = json.loads(self.schema) if self.schema else _one_of(self.choices)
        if form is Form.JSON_SCHEMA:
            named = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        if form is Form.JSON:
            return {"response_format": {"type": "json", "schema": schema}}
        if form is Form.JSON_OBJECT:
            return {"response_format": {"type": "json_object", "schema": schema}}
        if form is Form.STRUCTURED_OUTPUTS:
            given = {"choice": list(self.choices)} if self.choices else {"json": schema}
            return {"structured_outputs": given}
        if form is Form.GUIDED:
            if self.choices:
                return {"guided_choice": list(self.choices)}
            return {"guided_json": schema}
        if form is Form.GRAMMAR:
            return {"grammar": "root ::= " + " | ".join(map(_quoted, self.choices))}
        regex = "(" + "|".join(map(_regex, self.choices)) + ")"
        if form is Form.REGEX_FORMAT:
            return {"response_format": {"type": "regex", "regex": regex}}
        return {"regex": regex}

    @property
    def instruction(self) -> str:
        """The constraint in words, for servers that have no other way."""
        if self.schema:
            return (
                "Answer with one JSON value and nothing else: no explanation, no code fence. It "
                f"must satisfy this JSON schema: {self.schema}"
            )
        listed = ", ".join(map(_quoted, self.choices))
        return f"Answer with exactly one of these and nothing else: {listed}."

    def accept(self, text: str) -> str:
        """The answer without what surrounds it (spaces, a code fence, quotes around a choice).

        Raises InvalidOutput if it does not satisfy the constraint.
        """
        if self.schema:
            answer = _without_fence(text)
            validate_json(answer, self.schema)
            return answer
        plain = text.strip()
        said = {plain, plain.strip("\"'`.!"), _unquoted(plain)}
        exact = [choice for choice in self.choices if choice in said]
        if exact:
            return exact[0]
        folded = {each.casefold() for each in said}
        alike = [choice for choice in self.choices if choice.casefold() in folded]
        if len(alike) == 1:
            return alike[0]
        listed = ", ".join(map(_quoted, self.choices))
        raise InvalidOutput(f"The answer {plain[:80]!r} is none of the choices {listed}.")


def constraint_of(request: GenerationRequest) -> Constraint | None:
    """The request's constraint; None for free text. Raises InvalidRequest, InvalidSchema."""
    if request.json_schema is not None and request.choices:
        raise InvalidRequest("A JSON schema and choices exclude each other; give one of them.")
    if request.json_schema is not None:
        check_schema(request.json_schema)
        return Constraint(schema=request.json_schema)
    if not request.choices:
        return None
    if "" in request.choices or len(set(request.choices)) != len(request.choices):
        raise InvalidRequest("Choices must be distinct and not empty.")
    return Constraint(choices=request.choices)


def choice_probabilities(
    choices: Sequence[str], chances: Sequence[TokenChances]
) -> tuple[float, ...]:
    """How probable each choice was, from the log probabilities along the answer that was given.

    At each token the alternatives leave the answer's path; one that only a single choice begins
    with carries all of that choice's remaining probability. Renormalised over the choices. Empty if
    an alternative is shared by several choices off the path, or nothing can be told.
    """
    for spell in (str, _quoted):
        found = _walk([spell(choice) for choice in choices], chances)
        if found:
            return found
    return ()


def _walk(spelled: list[str], chances: Sequence[TokenChances]) -> tuple[float, ...]:
    masses = [0.0] * len(spelled)
    path, path_mass = "", 1.0
    still_open = set(range(len(spelled)))
    for at in chances:
        if at.token not in at.alternatives:
            return ()
        # Where one choice begins another ("no", "no idea"), whatever does not go on ends it.
        ended = [i for i in still_open if spelled[i] == path]
        for token, logprob in at.alternatives.items():
            if token == at.token:
                continue
            reached = _reach(path, token)
            fits = [i for i in still_open if reached != path and spelled[i].startswith(reached)]
            if len(fits) > 1:
                return ()
            for i in fits or ended:
                masses[i] += path_mass * math.exp(min(logprob, 0.0))
        path_mass *= math.exp(min(at.alternatives[at.token], 0.0))
        path = _reach(path, at.token)
        following = {i for i in still_open if spelled[i].startswith(path)}
        still_open = following or set(ended)
        if len(still_open) < 2:
            break
    finished = [i for i in still_open if len(still_open) == 1 or spelled[i] == path]
    for i in finished:
        masses[i] += path_mass
    total = sum(masses)
    return tuple(mass / total for mass in masses) if finished and total > 0 else ()


def _reach(path: str, token: str) -> str:
    """The answer so far with one more token; the first one often begins with a space."""
    return path + token if path else token.lstrip()


def _one_of(choices: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(choices)}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _regex(choice: str) -> str:
    return "".join(f"\\{each}" if each in _REGEX_SPECIAL else each for each in choice)


def _unquoted(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, str) else text


def _without_fence(text: str) -> str:
    """Text without the Markdown fence (```json … ```) that models like to put around JSON."""
    plain = text.strip()
    if not (plain.startswith("```") and plain.endswith("```") and len(plain) > 6):
        return plain
    first, _, rest = plain[3:-3].partition("\n")
    return rest.strip() if first.strip() in ("", "json") else plain
