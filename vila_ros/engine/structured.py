# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers held to a JSON schema token by token, by xgrammar.

A schema becomes a grammar once and is kept; each answer walks through it with a matcher of its own,
which says before every token which ones may come. Layout is fixed (one line, ", " and ": "), so a
model cannot wander off into white space, and properties come in the schema's order. An answer that
reaches max_tokens ends with FinishReason.LENGTH and is then incomplete JSON: whoever needs a whole
value checks the text with vila_ros.engine.json_schema.validate_json, as the Perceiver does.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import xgrammar

from vila_ros.engine.grammar_schema import plain_schema
from vila_ros.errors import EngineFailed, InvalidSchema

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GRAMMARS_KEPT = 32


class JsonConstraint:
    """A model.sampling.TokenConstraint: one answer on its way through a grammar."""

    def __init__(
        self, grammar: xgrammar.CompiledGrammar, vocab_size: int, stop_token_ids: Sequence[int]
    ) -> None:
        self._matcher = xgrammar.GrammarMatcher(grammar, override_stop_tokens=list(stop_token_ids))
        self._mask = xgrammar.allocate_token_bitmask(1, vocab_size)
        self._stops = set(stop_token_ids)
        self._filled = False

    def apply(self, logits: torch.Tensor) -> None:
        """Set the float32 logits [vocab] of tokens that may not come next to -inf, in place."""
        self._fill()
        mask = self._mask.to(logits.device)
        xgrammar.apply_token_bitmask_inplace(logits[None], mask)

    def accept(self, token: int) -> None:
        """Move on by a token that the mask allowed."""
        if not self._matcher.accept_token(token):
            raise EngineFailed(f"token {token} was generated against its grammar")
        self._filled = False

    def complete(self) -> bool:
        """Whether only the end may follow."""
        self._fill()
        words = self._mask[0]
        allowed = (words[:, None] >> torch.arange(32, dtype=torch.int32)) & 1
        return set(allowed.flatten().nonzero().flatten().tolist()) <= self._stops

    def _fill(self) -> None:
        if not self._filled:
            self._matcher.fill_next_token_bitmask(self._mask)
            self._filled = True


class Grammars:
    """Grammars of recent schemas for one tokenizer; usable from any thread.

    vocab_size: logits that the model gives, which may be more than the tokenizer knows.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vocab_size: int,
        stop_token_ids: Sequence[int],
    ) -> None:
        self._stop_token_ids = tuple(stop_token_ids)
        self._vocab_size = vocab_size
        info = tokenizer_info(tokenizer, vocab_size, stop_token_ids)
        # Sentencepiece models begin an answer with a space, which decoding drops again.
        self._beginning = xgrammar.Grammar.from_regex(" ?" if info.add_prefix_space else "")
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self._kept: OrderedDict[str, xgrammar.CompiledGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def json_constraint(self, schema: str) -> JsonConstraint:
        """The constraint of one answer. Raises InvalidSchema, see grammar_schema.plain_schema."""
        return JsonConstraint(self._grammar(schema), self._vocab_size, self._stop_token_ids)

    def _grammar(self, schema: str) -> xgrammar.CompiledGrammar:
        with self._lock:
            if schema in self._kept:
                self._kept.move_to_end(schema)
                return self._kept[schema]
            plain = plain_schema(schema)
            try:
                body = xgrammar.Grammar.from_json_schema(
                    json.dumps(plain), any_whitespace=False, separators=(", ", ": ")
                )
                grammar = self._compiler.compile_grammar(
                    xgrammar.Grammar.concat(self._beginning, body)
                )
            except RuntimeError as error:
                # xgrammar's messages begin with the time and a place in its source.
                said = str(error).split(": ", 1)[-1].strip()
                raise InvalidSchema(f"no grammar for the JSON schema: {said}") from None
            self._kept[schema] = grammar
            if len(self._kept) > GRAMMARS_KEPT:
                self._kept.popitem(last=False)
            return grammar


def tokenizer_info(
    tokenizer: PreTrainedTokenizerBase, vocab_size: int, stop_token_ids: Sequence[int]
) -> xgrammar.TokenizerInfo:
    """What xgrammar needs to know of a tokenizer."""
    return xgrammar.TokenizerInfo.from_huggingface(
        tokenizer, vocab_size=vocab_size, stop_token_ids=list(stop_token_ids)
    )
