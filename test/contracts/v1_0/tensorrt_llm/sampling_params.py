# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""tensorrt_llm/sampling_params.py; references_committed/sampling_params.yaml at 3ba4754d9."""

from __future__ import annotations

from typing import Any

from contract_recorder import contract, require


class GuidedDecodingParams:
    """At most one of its arguments; all are keywords."""

    @contract
    def __init__(
        self,
        *,
        json: str | dict[str, Any] | None = None,
        regex: str | None = None,
        grammar: str | None = None,
        json_object: bool = False,
        structural_tag: str | None = None,
    ) -> None:
        given = [json is not None, regex is not None, grammar is not None, json_object]
        require(sum(given) + (structural_tag is not None) == 1, "exactly one guide")
        self.json = json
        self.grammar = grammar


class SamplingParams:
    """max_tokens is 32 unless it is given."""

    @contract
    def __init__(
        self,
        end_id: int | None = None,
        pad_id: int | None = None,
        max_tokens: int = 32,
        bad: str | list[str] | None = None,
        bad_token_ids: list[int] | None = None,
        stop: str | list[str] | None = None,
        stop_token_ids: list[int] | None = None,
        include_stop_str_in_output: bool = False,
        embedding_bias: Any = None,
        logits_processor: Any = None,
        apply_batched_logits_processor: bool = False,
        n: int = 1,
        best_of: int | None = None,
        use_beam_search: bool = False,
        top_k: int | None = None,
        top_p: float | None = None,
        top_p_min: float | None = None,
        top_p_reset_ids: int | None = None,
        top_p_decay: float | None = None,
        seed: int | None = None,
        temperature: float | None = None,
        min_tokens: int | None = None,
        beam_search_diversity_rate: float | None = None,
        repetition_penalty: float | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        length_penalty: float | None = None,
        early_stopping: int | None = None,
        no_repeat_ngram_size: int | None = None,
        min_p: float | None = None,
        ignore_eos: bool = False,
        detokenize: bool = True,
        add_special_tokens: bool = True,
        truncate_prompt_tokens: int | None = None,
        skip_special_tokens: bool = True,
        spaces_between_special_tokens: bool = True,
        guided_decoding: GuidedDecodingParams | None = None,
    ) -> None:
        require(temperature is None or temperature >= 0, "temperature is 0 or more")
        require(top_p is None or 0 < top_p <= 1, "top_p is in (0, 1]")
        require(stop is None or isinstance(stop, (str, list)), "stop is a str or a list")
        self.max_tokens = max_tokens
        self.stop = stop
        self.guided_decoding = guided_decoding
