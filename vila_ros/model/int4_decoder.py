# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode steps of an int4 language model on the CPU, each one call of the compiled kernels.

A step is computed from embeddings to logits by quantization/native, over the same cache. Its sums
are float32; they differ from the modules' in their order alone, since both round activations alike.
Prompts: see int4_prompt.
"""

from __future__ import annotations

import ctypes

import torch
from torch import nn
from transformers import PreTrainedModel

from vila_ros.model.decoder import Decoder, DecodeStep, Rows
from vila_ros.model.int4_prompt import LINEARS, Int4Prompt
from vila_ros.model.kv_cache import Decode, Prefill, SlotCache
from vila_ros.quantization import int4_linear, native
from vila_ros.quantization.int4_linear import FEW_ROWS, Int4Linear, StoredEmbedding, StoredLinear

LANES = 16  # floats of the widest vectors, which heads must be made of


def can_step(language_model: PreTrainedModel, cache: SlotCache) -> bool:
    """Whether the kernels are here and know the model: a Llama or Qwen2 with int4 blocks, computed
    in float32 on the CPU."""
    config = language_model.config
    return (
        native.library() is not None
        and cache.device.type == "cpu"
        and cache.dtype == torch.float32
        and config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and cache.head_dim % LANES == 0
        and not getattr(config, "use_sliding_window", False)
        and isinstance(language_model.lm_head, StoredLinear)
        and isinstance(language_model.get_input_embeddings(), StoredEmbedding)
        and all(
            isinstance(layer.get_submodule(name), Int4Linear)
            for layer in language_model.model.layers
            for name in LINEARS.values()
        )
    )


class Int4Decoder(Decoder):
    """A Decoder whose decode steps are computed by the compiled kernels; see can_step."""

    def __init__(self, language_model: PreTrainedModel, cache: SlotCache) -> None:
        super().__init__(language_model, cache)
        kernels = native.library()
        assert kernels is not None
        self._kernels = kernels
        self._norms: list[torch.Tensor] = []  # float32 copies that the structure points to
        self._layers = (native.DecoderLayer * len(language_model.model.layers))(
            *(self._layer(layer) for layer in language_model.model.layers)
        )
        self._structure = self._model(language_model, cache)
        self._prompt = Int4Prompt.of(language_model, cache)
        self._capacity = -1
        self._turns: tuple[torch.Tensor, torch.Tensor] | None = None
        self._keys: ctypes.Array[ctypes.c_void_p]
        self._values: ctypes.Array[ctypes.c_void_p]

    def decode(self, rows: Rows, tokens: list[int]) -> DecodeStep:
        """As Decoder.decode."""
        if not 0 <= min(tokens) <= max(tokens) < self._structure.embeddings.rows:
            raise IndexError(f"tokens {tokens} of {self._structure.embeddings.rows}")
        self.cache.reserve(max(position for _, position in rows) + 1)
        step = DecodeStep(
            rows,
            torch.empty(len(rows), self._structure.head.rows),
            torch.tensor(tokens),
            torch.empty(len(rows)),
        )
        for start in range(0, len(rows), FEW_ROWS):
            self._compute(step, start, min(start + FEW_ROWS, len(rows)))
        return step

    def _forward(
        self, embeddings: torch.Tensor, positions: torch.Tensor, plan: Prefill | Decode
    ) -> torch.Tensor:
        if (
            self._prompt is None
            or not isinstance(plan, Prefill)
            or plan.length <= FEW_ROWS
            or int4_linear.wide_dtype() != torch.bfloat16
        ):
            return super()._forward(embeddings, positions, plan)
        hidden = self._prompt.compute(embeddings[0].float(), positions[0], plan)
        return self._language_model.model.norm(hidden)[None]

    def _compute(self, answer: DecodeStep, start: int, end: int) -> None:
        """Rows [start, end) of a step, whose tokens are those that were given."""
        rows = answer.rows[start:end]
        some = ctypes.c_int64 * len(rows)
        slots, positions = (some(*column) for column in zip(*rows, strict=True))
        self._point_to_cache()
        cosine, sine = self._turns or self._turned(torch.tensor(list(positions)))
        angles = positions if self._turns else some(*range(len(rows)))
        step = native.DecoderStep(
            batch=len(rows),
            capacity=self.cache.capacity,
            tokens=answer.tokens[start:].data_ptr(),
            best=answer.best[start:].data_ptr(),
            cosine=cosine.data_ptr(),
            sine=sine.data_ptr(),
            angles=angles,
            slots=slots,
            positions=positions,
            keys=self._keys,
            values=self._values,
            logits=answer.logits[start:].data_ptr(),
        )
        native.check(self._kernels.vila_decode(self._structure, step, native.threads()))

    def _turned(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of positions [n], each [n, head_dim]."""
        turned = self._language_model.model.rotary_emb(torch.empty(0), positions[None])
        cosine, sine = (part[0].contiguous() for part in turned)
        return cosine, sine

    def _point_to_cache(self) -> None:
        """The addresses of keys and values, which change when the cache grows; and the rotations
        of all its positions, unless they depend on the sequence's length."""
        if self._capacity == self.cache.capacity:
            return
        kind = self._language_model.model.rotary_emb.rope_type
        if "dynamic" not in kind and kind != "longrope":
            self._turns = self._turned(torch.arange(self.cache.capacity))
        pointers = ctypes.c_void_p * len(self.cache.layers)
        self._keys = pointers(*(layer.keys.data_ptr() for layer in self.cache.layers))
        self._values = pointers(*(layer.values.data_ptr() for layer in self.cache.layers))
        self._capacity = self.cache.capacity

    def _layer(self, layer: nn.Module) -> native.DecoderLayer:
        matrices = {}
        for name, place in LINEARS.items():
            linear = layer.get_submodule(place)
            assert isinstance(linear, Int4Linear)
            matrices[name] = linear.matrix
        return native.DecoderLayer(
            **matrices,
            input_norm=self._norm(layer.input_layernorm),
            post_norm=self._norm(layer.post_attention_layernorm),
        )

    def _norm(self, norm: object) -> int:
        assert isinstance(norm, nn.Module)
        weight = norm.weight
        assert isinstance(weight, torch.Tensor)
        self._norms.append(weight.detach().float().contiguous())
        return self._norms[-1].data_ptr()

    def _model(self, language_model: PreTrainedModel, cache: SlotCache) -> native.DecoderModel:
        config = language_model.config
        return native.DecoderModel(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=cache.kv_heads,
            head_dim=cache.head_dim,
            mlp=config.intermediate_size,
            epsilon=config.rms_norm_eps,
            scaling=cache.head_dim**-0.5,
            layer=self._layers,
            norm=self._norm(language_model.model.norm),
            embeddings=native.dense_matrix(self._embed.weight),
            head=native.dense_matrix(language_model.lm_head.weight),
        )
