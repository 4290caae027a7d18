# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The signatures that the TensorRT-LLM adapters were written against, by release, with sources.

Only what is called is listed, with every argument that is given. Sources are files of
NVIDIA/TensorRT-LLM at the commits named; test/contracts holds whole signatures of the same files.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contract:
    """One callable. first, last: the releases it is expected in. parameters: those that the
    adapters give."""

    runtime: str
    first: str
    last: str
    name: str
    parameters: tuple[str, ...]
    source: str


_REQUEST = (
    "input_token_ids", "streaming", "sampling_config", "output_config", "end_id", "pad_id",
    "stop_words", "prompt_tuning_config",
)  # fmt: skip
_SAMPLING = ("beam_width", "top_k", "top_p", "temperature")
_FROM_DIR = (
    "engine_dir", "rank", "kv_cache_free_gpu_memory_fraction", "kv_cache_enable_block_reuse",
)  # fmt: skip
_EXECUTOR = {
    "executor.Executor.enqueue_request": ("request",),
    "executor.Executor.await_responses": ("id", "timeout"),
    "executor.Executor.cancel_request": ("id",),
    "executor.Executor.shutdown": (),
}
_RUNNER = "tensorrt_llm/runtime/model_runner_cpp.py"
_EXECUTOR_H = "cpp/include/tensorrt_llm/executor/executor.h at 20a7cec991b8"
_REQUEST_CPP = "cpp/tensorrt_llm/nanobind/executor/request.cpp at ac456dcad7e6"
_REFERENCES = "tests/unittest/api_stability/references_committed"

# runtime, first and last release -> callable -> (parameters, source)
_TABLE: dict[tuple[str, str, str], dict[str, tuple[tuple[str, ...], str]]] = {
    ("tensorrt_llm_engine", "0.12", "0.12.99"): {
        "runtime.ModelRunnerCpp.from_dir": (
            (*_FROM_DIR, "use_mmap"),
            f"{_RUNNER} at 20a7cec991b8",
        ),
        "executor.Request": (("max_new_tokens", *_REQUEST), _EXECUTOR_H),
        "executor.SamplingConfig": ((*_SAMPLING, "random_seed"), _EXECUTOR_H),
        "executor.OutputConfig": (("exclude_input_from_output",), _EXECUTOR_H),
        "executor.PromptTuningConfig": (("embedding_table",), _EXECUTOR_H),
        **{
            name: (given, "cpp/tensorrt_llm/pybind/executor/executor.cpp at 20a7cec991b8")
            for name, given in _EXECUTOR.items()
        },
    },
    ("tensorrt_llm_engine", "0.13", "1.2.1"): {
        "runtime.ModelRunnerCpp.from_dir": (_FROM_DIR, f"{_RUNNER} at 03832911f05d"),
        "executor.Request": (("max_tokens", *_REQUEST), _REQUEST_CPP),
        "executor.SamplingConfig": ((*_SAMPLING, "seed"), _REQUEST_CPP),
        "executor.OutputConfig": (("exclude_input_from_output",), _REQUEST_CPP),
        "executor.PromptTuningConfig": (
            ("embedding_table", "input_token_extra_ids"),
            _REQUEST_CPP,
        ),
        **{
            name: (given, "cpp/tensorrt_llm/nanobind/executor/executor.cpp at f0c873f5ffdd")
            for name, given in _EXECUTOR.items()
        },
    },
    ("tensorrt_llm_pytorch", "1.0.0rc0", "1.4.99"): {
        "llmapi.LLM": (
            (
                "model", "trust_remote_code", "max_batch_size", "max_seq_len", "max_num_tokens",
                "enable_chunked_prefill", "guided_decoding_backend", "kv_cache_config",
            ),
            f"{_REFERENCES}/llm.yaml at e00a18669; tensorrt_llm/llmapi/llm.py at 4c05a74891e4",
        ),
        "llmapi.LLM.generate_async": (
            ("inputs", "sampling_params", "streaming"),
            f"{_REFERENCES}/llm.yaml at e00a18669",
        ),
        "llmapi.LLM.shutdown": ((), "tensorrt_llm/llmapi/llm.py at 4c05a74891e4"),
        "llmapi.KvCacheConfig": (
            ("enable_block_reuse", "free_gpu_memory_fraction"),
            "tensorrt_llm/llmapi/llm_args.py of 1.0 to 1.3",
        ),
        "llmapi.SamplingParams": (
            ("max_tokens", "stop", "guided_decoding", "top_k", "top_p", "temperature", "seed"),
            f"{_REFERENCES}/sampling_params.yaml at 3ba4754d9",
        ),
        "llmapi.GuidedDecodingParams": (
            ("json", "grammar"),
            f"{_REFERENCES}/sampling_params.yaml at 3ba4754d9",
        ),
        "llmapi.VideoData": (
            ("frames", "metadata"),
            "tensorrt_llm/inputs/utils.py of 1.0; inputs/multimodal_data.py at fc61a3e7",
        ),
    },
}  # fmt: skip

CONTRACTS = tuple(
    Contract(runtime, first, last, name, parameters, source)
    for (runtime, first, last), callables in _TABLE.items()
    for name, (parameters, source) in callables.items()
)
