# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA: small matrices learn beside the frozen ones of the language model (arXiv:2106.09685)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vila_ros.errors import InvalidRequest

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Lora:
    """rank: of the matrices. alpha: their output is scaled by alpha / rank. dropout: of their
    input. targets: the linear layers that get them, by the last part of their names."""

    rank: int
    alpha: int = 0
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 1024:
            raise InvalidRequest(f"LoRA's rank is {self.rank}, expected 1 to 1024")
        if self.alpha < 0:
            raise InvalidRequest(
                f"LoRA's alpha is {self.alpha}, expected 0 (twice the rank) or more"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidRequest(f"LoRA's dropout is {self.dropout}, expected 0 up to 1")

    @property
    def scaling(self) -> int:
        """alpha, where none is given twice the rank."""
        return self.alpha or 2 * self.rank


def add_adapters(language_model: nn.Module, lora: Lora, seed: int) -> None:
    """Put adapters into a language model; the matrices in its targets stay and are frozen.

    Adapters begin without effect. Raises InvalidRequest when no layer has a target's name.
    """
    from peft import LoraConfig, inject_adapter_in_model

    known = {name.rsplit(".", 1)[-1] for name, m in language_model.named_modules() if _linear(m)}
    missing = sorted(set(lora.targets) - known)
    if missing or not lora.targets:
        raise InvalidRequest(
            f"LoRA targets {', '.join(missing) or 'none'}; the language model's linear layers are "
            f"{', '.join(sorted(known))}"
        )
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scaling,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, language_model)


def freeze_all_but_adapters(language_model: nn.Module) -> None:
    """Only the adapters learn."""
    for name, parameter in language_model.named_parameters():
        learns = ".lora_" in name
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()


def merge_adapters(language_model: nn.Module) -> None:
    """Add the adapters to the matrices that they stand beside, and take them out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(language_model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            layer: Any = module
            layer.merge(safe_merge=True)
            parent, _, child = name.rpartition(".")
            setattr(language_model.get_submodule(parent), child, layer.get_base_layer())


def write_adapter(language_model: nn.Module, lora: Lora, folder: Path, base: str) -> None:
    """The adapters as peft writes them, so that other tools can take them."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(language_model, adapter_name="default")
    tensors = {
        f"base_model.model.{name}": tensor.detach().cpu().contiguous()
        for name, tensor in state.items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.scaling,
        "lora_dropout": lora.dropout,
        "target_modules": list(lora.targets),
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear)
