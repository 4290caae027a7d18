# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model folder must not, and what it may, hold for a runtime that loads it by itself."""

from __future__ import annotations

import json

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import VilaConfig


def refuse_remote_code(config: VilaConfig) -> None:
    """Raise InvalidCheckpoint if a configuration of the folder names Python code to run."""
    folders = (config.root, config.llm_folder, config.vision_folder, config.projector_folder)
    for folder in folders:
        for name in ("config.json", "tokenizer_config.json", "preprocessor_config.json"):
            path = folder / name
            if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
                raise InvalidCheckpoint(
                    f"{path} names code to run (auto_map), which VILA does not need and "
                    "TensorRT-LLM would execute; remove auto_map, or set allow_remote_code if you "
                    "trust it"
                )


def quantization_of(config: VilaConfig) -> str | None:
    """quant_algo of hf_quant_config.json in the folder's root, where TensorRT-LLM looks for it."""
    path = config.root / "hf_quant_config.json"
    if not path.is_file():
        if (config.llm_folder / "hf_quant_config.json").is_file():
            raise InvalidCheckpoint(
                f"{config.llm_folder / 'hf_quant_config.json'} is not read there by TensorRT-LLM; "
                f"copy it to {path}"
            )
        return None
    raw = json.loads(path.read_text(encoding="utf-8"))
    return str((raw.get("quantization") or {}).get("quant_algo") or "") or None
