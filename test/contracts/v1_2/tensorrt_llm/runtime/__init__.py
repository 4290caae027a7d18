# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""ModelRunnerCpp: tensorrt_llm/runtime/model_runner_cpp.py at 03832911f05d."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contract_executor import Executions
from contract_recorder import contract, require

from tensorrt_llm.bindings.executor import Executor


class ModelRunnerCpp:
    """The C++ executor is attribute `executor`."""

    def __init__(self, executor: Executor, vocab_size: int) -> None:
        self.executor = executor
        self.vocab_size = vocab_size

    @staticmethod
    @contract
    def from_dir(
        engine_dir: str,
        *,
        lora_dir: str | None = None,
        rank: int = 0,
        max_batch_size: int | None = None,
        max_input_len: int | None = None,
        max_output_len: int | None = None,
        max_beam_width: int | None = None,
        max_attention_window_size: list[int] | None = None,
        sink_token_length: int | None = None,
        kv_cache_free_gpu_memory_fraction: float | None = None,
        cross_kv_cache_fraction: float | None = None,
        medusa_choices: list[list[int]] | None = None,
        eagle_choices: list[list[int]] | None = None,
        eagle_posterior_threshold: float | None = None,
        eagle_use_dynamic_tree: bool = False,
        eagle_dynamic_tree_max_top_k: int | None = None,
        lookahead_config: list[int] | None = None,
        debug_mode: bool = False,
        lora_ckpt_source: str = "hf",
        use_gpu_direct_storage: bool = False,
        gpu_weights_percent: float = 1,
        max_tokens_in_paged_kv_cache: int | None = None,
        kv_cache_enable_block_reuse: bool = False,
        enable_chunked_context: bool = False,
        is_enc_dec: bool = False,
        multi_block_mode: bool = True,
        enable_context_fmha_fp32_acc: bool | None = None,
        cuda_graph_mode: bool | None = None,
        logits_processor_map: dict[str, Any] | None = None,
        device_ids: list[int] | None = None,
        is_orchestrator_mode: bool = False,
        use_runtime_defaults: bool = True,
        gather_generation_logits: bool = False,
        use_variable_beam_width_search: bool = False,
        mm_embedding_offloading: bool = False,
    ) -> ModelRunnerCpp:
        require(isinstance(engine_dir, str), "engine_dir is a str")
        config = json.loads((Path(engine_dir) / "config.json").read_text())
        build, vocabulary = config["build_config"], config["pretrained_config"]["vocab_size"]
        rows = build["max_prompt_embedding_table_size"] // build["max_batch_size"]
        limits = (rows, build["max_input_len"], build["max_seq_len"])
        executions = Executions(vocabulary, *limits)
        return ModelRunnerCpp(Executor(executions, kv_cache_enable_block_reuse), vocabulary)

    def generate(
        self,
        batch_input_ids: list[Any],
        *,
        position_ids: list[Any] | None = None,
        encoder_input_ids: list[Any] | None = None,
        encoder_input_features: list[Any] | None = None,
        encoder_output_lengths: list[int] | None = None,
        cross_attention_masks: list[Any] | None = None,
        mrope_params: Any = None,
        sampling_config: Any = None,
        lora_uids: list[Any] | None = None,
        lookahead_config: list[int] | None = None,
        streaming: bool = False,
        stopping_criteria: Any = None,
        logits_processor_names: list[str] | None = None,
        max_new_tokens: int = 1,
        end_id: int | None = None,
        pad_id: int | None = None,
        bad_words_list: list[list[int]] | None = None,
        stop_words_list: list[list[int]] | None = None,
        return_dict: bool = False,
        output_sequence_lengths: bool = False,
        output_generation_logits: bool = False,
        output_log_probs: bool = False,
        output_cum_log_probs: bool = False,
        prompt_table: Any = None,
        prompt_tasks: str | None = None,
        input_token_extra_ids: list[list[int]] | None = None,
        return_all_generated_tokens: bool = False,
        language_adapter_uids: list[int] | None = None,
        mm_embedding_offloading: bool = False,
        **kwargs: Any,
    ) -> Any:
        raise AssertionError("generate() cannot be cancelled; requests go to the executor")
