# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What each server understands beyond the common core, told by its kind and learned by asking.

Kinds are recognised by `owned_by` of GET /v1/models: vllm (vllm/entrypoints/openai/protocol.py),
sglang (python/sglang/srt/entrypoints/openai/protocol.py), llamacpp (tools/server of llama.cpp),
tensorrt_llm (tensorrt_llm/serve/openai_protocol.py).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from vila_ros.engine.openai_constraint import Constraint, Form

KINDS: dict[str, tuple[Form, ...]] = {
    "openai": (Form.JSON_SCHEMA, Form.JSON),
    "vllm": (Form.STRUCTURED_OUTPUTS, Form.GUIDED, Form.JSON_SCHEMA),
    "sglang": (Form.REGEX, Form.JSON_SCHEMA),
    "llama_cpp": (Form.GRAMMAR, Form.JSON_SCHEMA, Form.JSON_OBJECT),
    "trtllm": (Form.REGEX_FORMAT, Form.JSON, Form.JSON_SCHEMA),
    "transformers": (),
}
"""The forms of constraint that each kind of server takes, the best first."""

_OWNERS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama_cpp",
    "tensorrt_llm": "trtllm",
}
_OPTIONAL_FIELDS = ("stream_options", "logprobs", "top_logprobs", "seed", "stop", "top_p")
_ABOUT_FORM = re.compile(
    r"response_format|guided|structured|grammar|regex|schema|json|enum|constrain", re.IGNORECASE
)
_REMEMBERED = 64


def kind_of_owner(owned_by: str) -> str:
    """The kind of a server by the owner it gives its models; "openai" if it is not known."""
    return _OWNERS.get(owned_by.strip().lower(), "openai")


@dataclass(frozen=True)
class Plan:
    """How one request is written.

    form: how the constraint is told, None for not at all. instruct: whether it is also told in
    words. left: forms not yet tried. without: optional fields that are left out. answer_limit: the
    name of the field that bounds the answer.
    """

    form: Form | None = None
    instruct: bool = False
    left: tuple[Form, ...] = ()
    without: frozenset[str] = frozenset()
    answer_limit: str = "max_tokens"

    def has(self, name: str) -> bool:
        """Whether the optional field is sent."""
        return name not in self.without

    def after_refusal(self, message: str, sent: frozenset[str]) -> Plan | None:
        """What to try when the server refused the request; None when nothing is left.

        message: why it refused. sent: the request's top-level fields.
        """
        if "max_tokens" in sent and "max_completion_tokens" in message:
            return replace(self, answer_limit="max_completion_tokens")
        optional = [name for name in _OPTIONAL_FIELDS if name in sent]
        named = {name for name in optional if re.search(rf"\b{name}\b", message)}
        if named & {"logprobs", "top_logprobs"}:
            named |= {"logprobs", "top_logprobs"}
        if named:
            return replace(self, without=self.without | named)
        if self.form is not None and (_ABOUT_FORM.search(message) or not optional):
            return self._next_form(instruct=not self.left)
        if optional:
            # It did not say what it disliked: the core alone, then form by form.
            return replace(self, without=self.without | set(optional))
        return None

    def after_violation(self) -> Plan | None:
        """What to try when the server ignored the constraint; None when nothing is left."""
        if self.form is None and self.instruct:
            return None
        return self._next_form(instruct=True)

    def _next_form(self, *, instruct: bool) -> Plan:
        form, left = (self.left[0], self.left[1:]) if self.left else (None, ())
        return replace(self, form=form, left=left, instruct=instruct)


@dataclass
class Dialect:
    """What is known of one server; belongs to the event loop's thread."""

    kind: str = "openai"
    _base: Plan = field(default_factory=Plan)
    _plans: OrderedDict[Constraint, Plan] = field(default_factory=OrderedDict)

    def plan(self, constraint: Constraint | None) -> Plan:
        """How to write a request with this constraint."""
        if constraint is None:
            return self._base
        known = self._plans.get(constraint)
        if known is not None:
            without = known.without | self._base.without
            return replace(known, without=without, answer_limit=self._base.answer_limit)
        forms = tuple(form for form in KINDS[self.kind] if constraint.allows(form))
        if not forms:
            return replace(self._base, instruct=True)
        return replace(self._base, form=forms[0], left=forms[1:])

    def learn(self, constraint: Constraint | None, plan: Plan) -> None:
        """Remember a plan by which the server has answered."""
        self._base = replace(self._base, without=plan.without, answer_limit=plan.answer_limit)
        if constraint is None:
            return
        self._plans[constraint] = plan
        self._plans.move_to_end(constraint)
        if len(self._plans) > _REMEMBERED:
            self._plans.popitem(last=False)
