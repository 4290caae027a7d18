# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engine folders as trtllm-build and `vila build-engine` leave them, with empty engines in them.

The configuration files are complete; nothing can run the engines themselves. Field names are those
of tensorrt_llm/builder.py (EngineConfig) and tensorrt_llm/tools/multimodal_builder.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vila_ros.engine.engine_folder import Manifest, engine_files, file_digest, write_manifest

TINY_ROWS = 4
"""Rows of an image of the "tiny" random checkpoint: a 4 x 4 grid, pooled 2 x 2."""


def write_language_engine(folder: Path, **changes: Any) -> Path:
    """llm/ of an engine for the "tiny" checkpoint; changes: by field, wherever it stands."""
    build = {
        "max_batch_size": 2,
        "max_input_len": 512,
        "max_seq_len": 1024,
        "max_beam_width": 1,
        "max_num_tokens": 8192,
        "max_prompt_embedding_table_size": 2 * 8 * TINY_ROWS,
        "kv_cache_type": "PAGED",
        "plugin_config": {"use_paged_context_fmha": True, "gemm_plugin": "float16"},
    }
    pretrained = {
        "architecture": "LlamaForCausalLM",
        "dtype": "float32",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "vocab_size": 576,
        "mapping": {"world_size": 1, "tp_size": 1, "pp_size": 1},
        "quantization": {"quant_algo": "W4A16_AWQ", "group_size": 128},
    }
    config = {"version": "1.2.1", "pretrained_config": pretrained, "build_config": build}
    for name, value in changes.items():
        place = next(each for each in (config, pretrained, build) if name in each)
        place[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for rank in range(pretrained["mapping"]["world_size"]):  # type: ignore[index]
        (folder / f"rank{rank}.engine").write_bytes(b"engine")
    return folder


def write_visual_engine(folder: Path, name: str = "model.engine", **changes: Any) -> Path:
    """vision/ of a visual engine."""
    builder = {
        "precision": "float16",
        "model_type": "vila",
        "max_batch_size": 2,
        "model_name": "multiModal",
        "output_shape": [-1, TINY_ROWS, 64],
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"builder_config": builder}))
    (folder / name).write_bytes(b"engine")
    return folder


def manifest_of(folder: Path, **changes: Any) -> Manifest:
    """A manifest that fits the folder as it stands."""
    values: dict[str, Any] = {
        "model": "tiny",
        "architecture": "sm_87",
        "tensorrt_llm": "1.2.1",
        "tensorrt": "10.11.0",
        "conversation": "vicuna_v1",
        "token_order": "column",
        "rows_per_image": TINY_ROWS,
        "precision": "int4_awq",
        "files": {
            path.relative_to(folder).as_posix(): file_digest(path) for path in engine_files(folder)
        },
        **changes,
    }
    return Manifest(**values)


def seal(folder: Path, **changes: Any) -> Path:
    """Write the manifest, as the last stage of a build does."""
    write_manifest(folder, manifest_of(folder, **changes))
    return folder
