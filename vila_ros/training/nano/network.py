# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""vila-nano's trained parts: projector and language model, on vision features that are cached."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vila_ros.model.config import LanguageConfig
from vila_ros.model.language_model import build_language_model
from vila_ros.model.projector import Projector
from vila_ros.training.nano.scene_heads import MIDDLE, UPPER
from vila_ros.training.nano.sequences import IGNORE, IMAGE_ID, IMAGE_ROWS, Batch
from vila_ros.training.packing import attention_bounds

VISION_WIDTH = 384
PROJECTOR = "mlp_downsample_2x2_fix"


def language_config(vocabulary: int, **sizes: int) -> dict[str, Any]:
    """config.json of the language model. sizes: those that differ from the shipped model's."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 256,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 768,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": 3,
        "pad_token_id": 1,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.36.2",
        **sizes,
    }


class Network(nn.Module):
    """Projector and language model; forward gives the loss of a batch."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.projector = Projector(PROJECTOR, VISION_WIDTH, int(config["hidden_size"]))
        language = LanguageConfig(
            "llama", config["hidden_size"], config["num_hidden_layers"],
            config["num_attention_heads"], config["num_key_value_heads"], config["vocab_size"],
            config["max_position_embeddings"], config,
        )  # fmt: skip
        self.language: Any = build_language_model(language)
        self.language.model.embed_tokens.weight.data.normal_(0, 0.02)
        if config["tie_word_embeddings"]:
            self.language.lm_head.weight = self.language.model.embed_tokens.weight

    def hidden(
        self, batch: Batch, projected: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """[B, L, H] behind the last layer; the pictures' rows in the middle, [pictures, 64, H], and
        the last one of each above it, [pictures, H] (see scene_heads.py).

        projected: [pictures, 64, H].
        """
        ids = torch.from_numpy(batch.ids)
        marks = ids == IMAGE_ID
        embedded = self.language.model.embed_tokens(ids.masked_fill(marks, 0))
        if len(projected):
            rows = projected.to(embedded.dtype).flatten(0, 1)
            embedded = embedded.masked_scatter(marks[..., None], rows)
        owner = torch.from_numpy(batch.owner)
        outputs = self.language.model(
            inputs_embeds=embedded,
            attention_mask=attention_bounds(owner.clamp(max=0), owner.clamp(min=0)),
            position_ids=torch.from_numpy(batch.positions),
            use_cache=False,
            output_hidden_states=True,
        )
        middle, upper = (
            outputs.hidden_states[min(layer, len(outputs.hidden_states) - 1)][marks]
            for layer in (MIDDLE, UPPER)
        )
        last = upper[IMAGE_ROWS - 1 :: IMAGE_ROWS]
        return outputs.last_hidden_state, (middle.unflatten(0, (-1, IMAGE_ROWS)), last)

    def forward(
        self, batch: Batch, projected: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """The weighted mean loss of answers' tokens, the share of them that are right, and the
        pictures' rows half way up, as `hidden` gives them.
        """
        hidden, rows = self.hidden(batch, projected)
        labels = torch.from_numpy(batch.labels)
        places = labels != IGNORE
        # The output layer only where something is learnt.
        logits = self.language.lm_head(hidden[places]).float()
        wanted, weights = labels[places], torch.from_numpy(batch.weights)[places]
        right = (logits.argmax(-1) == wanted).float().mean()
        spared = torch.from_numpy(batch.spared)[places]
        some = spared != IGNORE
        logits = logits.index_put((some.nonzero()[:, 0], spared[some]), torch.tensor(-torch.inf))
        losses = nn.functional.cross_entropy(logits, wanted, reduction="none")
        return (losses * weights).sum() / weights.sum(), right, rows
