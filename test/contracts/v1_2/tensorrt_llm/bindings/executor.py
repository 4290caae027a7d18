# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Executor API: cpp/tensorrt_llm/nanobind/executor/{executor,request}.cpp at f0c873f5, ac456dca."""

from __future__ import annotations

import os
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from contract_executor import Executions
from contract_recorder import contract, require


class FinishReason(Enum):
    """request.cpp, enum FinishReason."""

    NOT_FINISHED = auto()
    END_ID = auto()
    STOP_WORDS = auto()
    LENGTH = auto()
    TIMED_OUT = auto()
    CANCELLED = auto()


class SamplingConfig:
    """request.cpp, class SamplingConfig."""

    @contract
    def __init__(
        self,
        beam_width: int = 1,
        *,
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
        num_return_sequences: int | None = None,
        min_p: float | None = None,
        beam_width_array: list[int] | None = None,
    ) -> None:
        require(top_k is None or top_k >= 0, "top_k is 0 or more")
        require(top_p is None or 0 < top_p <= 1, "top_p is in (0, 1]")
        require(temperature is None or temperature > 0, "temperature is above 0")
        require(seed is None or 0 <= seed < 2**64, "seed is unsigned")


class OutputConfig:
    """request.cpp, class OutputConfig."""

    @contract
    def __init__(
        self,
        return_log_probs: bool = False,
        return_context_logits: bool = False,
        return_generation_logits: bool = False,
        exclude_input_from_output: bool = False,
        return_encoder_output: bool = False,
        return_perf_metrics: bool = False,
        additional_model_outputs: Any = None,
    ) -> None:
        self.exclude_input_from_output = exclude_input_from_output


class PromptTuningConfig:
    """request.cpp, class PromptTuningConfig."""

    @contract
    def __init__(
        self, embedding_table: Any, input_token_extra_ids: list[int] | None = None
    ) -> None:
        self.embedding_table = embedding_table
        self.input_token_extra_ids = input_token_extra_ids


class Request:
    """request.cpp, class Request."""

    @contract
    def __init__(
        self,
        input_token_ids: list[int],
        max_tokens: int,
        *,
        streaming: bool = False,
        sampling_config: SamplingConfig | None = None,
        output_config: OutputConfig | None = None,
        end_id: int | None = None,
        pad_id: int | None = None,
        position_ids: list[int] | None = None,
        bad_words: list[list[int]] | None = None,
        stop_words: list[list[int]] | None = None,
        embedding_bias: Any = None,
        external_draft_tokens_config: Any = None,
        prompt_tuning_config: PromptTuningConfig | None = None,
        multimodal_input: Any = None,
        multimodal_embedding: Any = None,
        mrope_config: Any = None,
        lora_config: Any = None,
        lookahead_config: Any = None,
        kv_cache_retention_config: Any = None,
        logits_post_processor_name: str | None = None,
        logits_post_processor: Any = None,
        encoder_input_token_ids: list[int] | None = None,
        client_id: int | None = None,
        return_all_generated_tokens: bool = False,
        priority: float = 0.5,
        type: Any = None,
        context_phase_params: Any = None,
        encoder_input_features: Any = None,
        encoder_output_length: int | None = None,
        cross_attention_mask: Any = None,
        eagle_config: Any = None,
        skip_cross_attn_blocks: Any = None,
        guided_decoding_params: Any = None,
        language_adapter_uid: int | None = None,
        allotted_time_ms: Any = None,
        cache_salt_id: int | None = None,
    ) -> None:
        require(isinstance(sampling_config, SamplingConfig), "sampling_config is a SamplingConfig")
        require(isinstance(output_config, OutputConfig), "output_config is an OutputConfig")
        self.input_token_ids = input_token_ids
        self.max_tokens = max_tokens
        self.prompt_tuning_config = prompt_tuning_config


class Result:
    """request.cpp, class Result."""

    def __init__(self, tokens: list[int], is_final: bool, reason: FinishReason) -> None:
        self.is_final = is_final
        self.output_token_ids = [tokens]
        self.finish_reasons = [reason]
        self.sequence_index = 0
        self.is_sequence_final = is_final


class Response:
    """request.cpp, class Response; result throws when there is an error."""

    def __init__(self, request_id: int, tokens: list[int], is_final: bool, why: str) -> None:
        self.request_id = request_id
        self.client_id = None
        self.error_msg = os.environ["CONTRACT_ERROR"] if why == "ERROR" else ""
        reason = FinishReason[why] if why != "ERROR" else FinishReason.NOT_FINISHED
        self._result = Result(tokens, is_final, reason)

    def has_error(self) -> bool:
        return bool(self.error_msg)

    @property
    def result(self) -> Result:
        if self.error_msg:
            raise RuntimeError(self.error_msg)
        return self._result


class Executor:
    """executor.cpp, class Executor."""

    def __init__(self, executions: Executions, reuse: bool) -> None:
        self.executions = executions
        self.reuse = reuse

    @contract
    def shutdown(self) -> None:
        self.executions.is_shut_down = True

    @contract
    def enqueue_request(self, request: Request) -> int:
        config = request.prompt_tuning_config
        return self.executions.enqueue(
            request.input_token_ids,
            request.max_tokens,
            None if config is None else config.embedding_table,
            None if config is None else config.input_token_extra_ids,
            self.reuse,
        )

    @contract
    def await_responses(self, id: int, timeout: timedelta | None = None) -> list[Response]:
        return [
            Response(id, tokens, last, why)
            for tokens, last, why in self.executions.wait(id, timeout)
        ]

    @contract
    def cancel_request(self, id: int) -> None:
        self.executions.cancel(id)

    @contract
    def can_enqueue_requests(self) -> bool:
        return not self.executions.is_shut_down
