# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The language model: Llama or Qwen2, by transformers' own classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import LanguageConfig

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, Qwen2ForCausalLM

# Keys of config.json that describe a file or point at code, not a model.
FOREIGN_KEYS = (
    "architectures",
    "auto_map",
    "torch_dtype",
    "dtype",
    "_name_or_path",
    "model_type",
    "quantization_config",
)


def build_language_model(
    config: LanguageConfig, attention: str = "sdpa"
) -> LlamaForCausalLM | Qwen2ForCausalLM:
    """The model with parameters on the current default device ("meta": without memory).

    attention: "sdpa" or "eager".
    """
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    raw: dict[str, Any] = {k: v for k, v in config.raw.items() if k not in FOREIGN_KEYS}
    try:
        if config.kind == "llama":
            return LlamaForCausalLM(LlamaConfig(**raw, attn_implementation=attention))
        return Qwen2ForCausalLM(Qwen2Config(**raw, attn_implementation=attention))
    except (TypeError, ValueError, KeyError) as error:
        raise InvalidCheckpoint(f"llm/config.json does not describe a model: {error}") from error


def restore_buffers(model: nn.Module, device: torch.device) -> None:
    """Compute the buffers that no checkpoint stores, after building on the meta device."""
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not buffer.is_meta:
                continue
            if name == "position_ids":
                restored = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
            elif name in ("inv_freq", "original_inv_freq"):
                # The rotary embedding computes them from its configuration when it is made.
                with torch.device(device):
                    restored = getattr(type(module)(module.config), name)
            else:
                raise NotImplementedError(f"buffer {name} of {type(module).__name__}")
            module.register_buffer(name, restored, persistent=False)


def language_name(name: str) -> str:
    """This model's name for a published tensor; "" for one that is not used."""
    return "" if name.endswith("rotary_emb.inv_freq") else name
