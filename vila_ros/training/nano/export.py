# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was trained as the folder that the package ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vila_ros.training.nano.network import Network
from vila_ros.training.nano.tokens import save_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def export(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Write language model, tokenizer and projector, in bfloat16, into a folder in VILA's layout.

    config.json of the root, of the projector and of the vision tower stay as they are there.
    """
    from safetensors.torch import save_file

    language = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in network.language.state_dict().items()
        if name != "lm_head.weight"  # tied to the embeddings
    }
    projector = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in network.projector.state_dict().items()
    }
    for name, tensors in (("llm", language), ("mm_projector", projector)):
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        part = target / "model.safetensors.part"
        save_file(tensors, part, metadata={"format": "pt"})
        part.rename(target / "model.safetensors")
    (folder / "llm" / "config.json").write_text(json.dumps(network.config, indent=2) + "\n")
    save_tokenizer(tokenizer, folder / "llm")
