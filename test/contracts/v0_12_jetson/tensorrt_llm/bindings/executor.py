# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Executor API: cpp/tensorrt_llm/pybind/executor/executor.cpp and executor.h at 20a7cec991b8."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from contract_executor import Executions
from contract_recorder import contract, require


class SamplingConfig:
    """Constructor arguments as in executor.h, class SamplingConfig."""

    @contract
    def __init__(
        self,
        beam_width: int = 1,
        top_k: int | None = None,
        top_p: float | None = None,
        top_p_min: float | None = None,
        top_p_reset_ids: int | None = None,
        top_p_decay: float | None = None,
        random_seed: int | None = None,
        temperature: float | None = None,
        min_length: int | None = None,
        beam_search_diversity_rate: float | None = None,
        repetition_penalty: float | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        length_penalty: float | None = None,
        early_stopping: int | None = None,
        no_repeat_ngram_size: int | None = None,
    ) -> None:
        require(top_k is None or top_k >= 0, "top_k is 0 or more")
        require(top_p is None or 0 < top_p <= 1, "top_p is in (0, 1]")
        require(temperature is None or temperature > 0, "temperature is above 0")
        require(random_seed is None or 0 <= random_seed < 2**64, "random_seed is unsigned")


class OutputConfig:
    """executor.h, class OutputConfig."""

    @contract
    def __init__(
        self,
        return_log_probs: bool = False,
        return_context_logits: bool = False,
        return_generation_logits: bool = False,
        exclude_input_from_output: bool = False,
        return_encoder_output: bool = False,
    ) -> None:
        self.exclude_input_from_output = exclude_input_from_output


class PromptTuningConfig:
    """executor.h, class PromptTuningConfig: the table alone, so images cannot be told apart."""

    @contract
    def __init__(self, embedding_table: Any) -> None:
        self.embedding_table = embedding_table


class Request:
    """executor.h, class Request."""

    @contract
    def __init__(
        self,
        input_token_ids: list[int],
        max_new_tokens: int,
        streaming: bool = False,
        sampling_config: SamplingConfig | None = None,
        output_config: OutputConfig | None = None,
        end_id: int | None = None,
        pad_id: int | None = None,
        bad_words: list[list[int]] | None = None,
        stop_words: list[list[int]] | None = None,
        embedding_bias: Any = None,
        external_draft_tokens_config: Any = None,
        prompt_tuning_config: PromptTuningConfig | None = None,
        lora_config: Any = None,
        logits_post_processor_name: str | None = None,
        encoder_input_token_ids: list[int] | None = None,
        client_id: int | None = None,
        return_all_generated_tokens: bool = False,
        priority: float = 0.5,
    ) -> None:
        require(isinstance(sampling_config, SamplingConfig), "sampling_config is a SamplingConfig")
        require(isinstance(output_config, OutputConfig), "output_config is an OutputConfig")
        self.input_token_ids = input_token_ids
        self.max_new_tokens = max_new_tokens
        self.prompt_tuning_config = prompt_tuning_config


class Result:
    """executor.h, struct Result: no finish reasons in this release."""

    def __init__(self, tokens: list[int], is_final: bool) -> None:
        self.is_final = is_final
        self.output_token_ids = [tokens]


class Response:
    """executor.h, class Response; result throws when there is an error."""

    def __init__(self, request_id: int, tokens: list[int], is_final: bool, error: str) -> None:
        self.request_id = request_id
        self.error_msg = error
        self._result = Result(tokens, is_final)

    def has_error(self) -> bool:
        return bool(self.error_msg)

    @property
    def result(self) -> Result:
        if self.error_msg:
            raise RuntimeError(self.error_msg)
        return self._result


class Executor:
    """pybind/executor/executor.cpp."""

    def __init__(self, executions: Executions) -> None:
        self.executions = executions

    @contract
    def shutdown(self) -> None:
        self.executions.is_shut_down = True

    @contract
    def enqueue_request(self, request: Request) -> int:
        config = request.prompt_tuning_config
        table = None if config is None else config.embedding_table
        return self.executions.enqueue(
            request.input_token_ids, request.max_new_tokens, table, None, reuse=False
        )

    @contract
    def await_responses(self, id: int, timeout: timedelta | None = None) -> list[Response]:
        from os import environ

        return [
            Response(id, tokens, last, environ["CONTRACT_ERROR"] if why == "ERROR" else "")
            for tokens, last, why in self.executions.wait(id, timeout)
        ]

    @contract
    def cancel_request(self, id: int) -> None:
        self.executions.cancel(id)

    @contract
    def can_enqueue_requests(self) -> bool:
        return not self.executions.is_shut_down
