# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LLM API of 1.0: api_stability/references/llm.yaml at 000a01de66f0, llm_args.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contract_llm import Answering, Model
from contract_recorder import contract, require

from tensorrt_llm.sampling_params import GuidedDecodingParams, SamplingParams

__all__ = ["LLM", "GuidedDecodingParams", "KvCacheConfig", "SamplingParams"]


class KvCacheConfig:
    """tensorrt_llm/llmapi/llm_args.py; extra fields are forbidden."""

    @contract
    def __init__(
        self,
        *,
        enable_block_reuse: bool = True,
        max_tokens: int | None = None,
        max_attention_window: list[int] | None = None,
        sink_token_length: int | None = None,
        free_gpu_memory_fraction: float | None = None,
        host_cache_size: int | None = None,
        onboard_blocks: bool = True,
        cross_kv_cache_fraction: float | None = None,
        secondary_offload_min_priority: int | None = None,
        event_buffer_max_size: int = 0,
        enable_partial_reuse: bool = True,
        copy_on_partial_reuse: bool = True,
        use_uvm: bool = False,
        dtype: str = "auto",
    ) -> None:
        self.enable_block_reuse = enable_block_reuse


class LLM:
    """tensorrt_llm/llmapi/llm.py, PyTorch backend; unknown keyword arguments are ValueErrors."""

    @contract
    def __init__(
        self,
        model: str,
        tokenizer: Any = None,
        tokenizer_mode: str = "auto",
        skip_tokenizer_init: bool = False,
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        revision: str | None = None,
        tokenizer_revision: str | None = None,
        *,
        pipeline_parallel_size: int = 1,
        context_parallel_size: int = 1,
        enable_lora: bool = False,
        lora_config: Any = None,
        batched_logits_processor: Any = None,
        guided_decoding_backend: str | None = None,
        speculative_config: Any = None,
        max_batch_size: int | None = None,
        max_input_len: int | None = None,
        max_seq_len: int | None = None,
        max_beam_width: int | None = None,
        max_num_tokens: int | None = None,
        load_format: str = "auto",
        enable_tqdm: bool = False,
        enable_chunked_prefill: bool = False,
        kv_cache_config: KvCacheConfig | None = None,
        stream_interval: int = 1,
        cuda_graph_config: Any = None,
        disable_overlap_scheduler: bool = False,
        attn_backend: str = "TRTLLM",
        batching_type: Any = None,
        normalize_log_probs: bool = False,
        kv_cache_dtype: str = "auto",
        enable_mixed_sampler: bool = False,
        enable_trtllm_sampler: bool = False,
    ) -> None:
        require(guided_decoding_backend in (None, "xgrammar", "llguidance"), "unknown backend")
        require(kv_cache_config is not None, "VILA needs KV block reuse off")
        assert kv_cache_config is not None
        require(not kv_cache_config.enable_block_reuse, "VILA has no KV reuse in this backend")
        require(not enable_chunked_prefill, "VILA has no chunked prefill in this backend")
        self._guided = guided_decoding_backend is not None
        self._model = Model(model, max_num_tokens)

    @contract
    def generate_async(
        self,
        inputs: Mapping[str, Any],
        sampling_params: SamplingParams | None = None,
        lora_request: Any = None,
        prompt_adapter_request: Any = None,
        streaming: bool = False,
        kv_cache_retention_config: Any = None,
        disaggregated_params: Any = None,
        _postproc_params: Any = None,
    ) -> Answering:
        require(isinstance(sampling_params, SamplingParams), "sampling_params is a SamplingParams")
        assert sampling_params is not None
        require(sampling_params.guided_decoding is None or self._guided, "no guided backend")
        require(streaming, "answers are streamed")
        return self._model.answer(inputs, sampling_params)

    @contract
    def shutdown(self) -> None:
        self._model.is_shut_down = True
