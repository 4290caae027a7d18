# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A prompt through the blocks of an int4 language model on a CPU that multiplies bfloat16.

The arithmetic of the model's modules over Int4Linear: products in bfloat16, everything between them
in float32. The modules make a pass over memory, and often fresh memory, of each operation between
two products, which took as long as half the products; here it is one pass of the compiled kernels,
into the same few buffers in every block.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from vila_ros.model.kv_cache import Prefill, SlotCache, SlotLayer
from vila_ros.quantization import native
from vila_ros.quantization.int4_linear import Int4Linear, multiply_into

LINEARS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


@dataclass(frozen=True, eq=False)
class PromptLayer:
    """One block. bias: float32 of query, key and value together; None for none."""

    project: tuple[Int4Linear, ...]
    bias: torch.Tensor | None
    output: Int4Linear
    gate: tuple[Int4Linear, ...]
    down: Int4Linear
    input_norm: torch.Tensor
    post_norm: torch.Tensor

    @classmethod
    def of(cls, layer: nn.Module) -> PromptLayer | None:
        """A Llama's or Qwen2's block; None where it has what the kernels do not know: scaled inputs
        where several products share one, or a bias in the feed-forward part."""
        linears = {}
        for name, place in LINEARS.items():
            linear = layer.get_submodule(place)
            assert isinstance(linear, Int4Linear)
            linears[name] = linear
        project = tuple(linears[name] for name in ("query", "key", "value"))
        gate = (linears["gate"], linears["up"])
        if any(linear.input_scale is not None for linear in (*project, *gate)):
            return None
        if any(linear.bias is not None for linear in gate):
            return None
        biases = [linear.bias for linear in project]
        bias = None
        if any(b is not None for b in biases):
            zeros = [torch.zeros(linear.out_features) for linear in project]
            bias = torch.cat([z if b is None else b for b, z in zip(biases, zeros, strict=True)])
        norms = [
            layer.get_submodule(name).get_parameter("weight").detach().float().contiguous()
            for name in ("input_layernorm", "post_attention_layernorm")
        ]
        return cls(project, bias, linears["output"], gate, linears["down"], *norms)


class Int4Prompt:
    """Computes prompts for an Int4Decoder."""

    def __init__(
        self, language_model: PreTrainedModel, cache: SlotCache, layers: list[PromptLayer]
    ) -> None:
        kernels = native.library()
        assert kernels is not None
        config = language_model.config
        self._kernels = kernels
        self._cache = cache
        self._layers = layers
        self._rotary = language_model.model.rotary_emb
        self._sizes = {
            "size": config.hidden_size,
            "mlp": config.intermediate_size,
            "heads": config.num_attention_heads,
            "kv_heads": cache.kv_heads,
            "head_dim": cache.head_dim,
            "epsilon": config.rms_norm_eps,
            "scaling": cache.head_dim**-0.5,
        }

    @classmethod
    def of(cls, language_model: PreTrainedModel, cache: SlotCache) -> Int4Prompt | None:
        """For a model that can_step; None where a block is left to the modules."""
        layers = [PromptLayer.of(layer) for layer in language_model.model.layers]
        known = [layer for layer in layers if layer is not None]
        return cls(language_model, cache, known) if len(known) == len(layers) else None

    def compute(
        self, embeddings: torch.Tensor, positions: torch.Tensor, plan: Prefill
    ) -> torch.Tensor:
        """Store a prompt's keys and values as `plan` says.

        embeddings: float32 [rows, hidden], kept. positions: int64 [rows]. Returns float32 [rows,
        hidden] before the last norm.
        """
        hidden = embeddings.clone(memory_format=torch.contiguous_format)
        cosine, sine = (part[0].contiguous() for part in self._rotary(hidden, positions[None]))
        rows, heads, kv_heads = len(hidden), self._sizes["heads"], self._sizes["kv_heads"]
        size, mlp, head_dim = (self._sizes[name] for name in ("size", "mlp", "head_dim"))
        half = torch.bfloat16
        normed, added = (torch.empty(rows, size, dtype=half) for _ in range(2))
        together = torch.empty(rows, (heads + 2 * kv_heads) * head_dim, dtype=half)
        query = torch.empty(rows, heads, head_dim)
        narrowed = torch.empty(rows, heads * head_dim, dtype=half)
        both = torch.empty(rows, 2 * mlp, dtype=half)
        active = torch.empty(rows, mlp, dtype=half)
        before: Int4Linear | None = None  # whose product is not added to hidden yet
        for number, layer in enumerate(self._layers):
            stored = self._cache.layers[number]
            self._norm(hidden, added, before, layer.input_norm, normed)
            multiply_into(layer.project, normed, together)
            self._run(
                "turn", rows, projected=together, bias=layer.bias, cosine=cosine, sine=sine,
                query=query, keys=stored.keys[plan.slot, :, plan.start :],
                values=stored.values[plan.slot, :, plan.start :],
            )  # fmt: skip
            self._attend(plan, query, stored, layer.output.input_scale, narrowed)
            multiply_into([layer.output], narrowed, added)
            self._norm(hidden, added, layer.output, layer.post_norm, normed)
            multiply_into(layer.gate, normed, both)
            scale = layer.down.input_scale
            self._run("gate", rows, projected=both, scale=scale, active=active)
            multiply_into([layer.down], active, added)
            before = layer.down
        self._norm(hidden, added, before, None, None)
        return hidden

    def _attend(
        self,
        plan: Prefill,
        query: torch.Tensor,
        stored: SlotLayer,
        scale: torch.Tensor | None,
        out: torch.Tensor,
    ) -> None:
        """Attention of query [rows, heads, head_dim], as bfloat16 [rows, heads * head_dim]."""
        if plan.mask is None:
            self._run(
                "attend", len(query), start=plan.start, query=query, scale=scale, active=out,
                keys=stored.keys[plan.slot], values=stored.values[plan.slot],
            )  # fmt: skip
            return
        scaling = self._sizes["scaling"]
        mixed = plan.attend(query.transpose(0, 1)[None], stored.keys, stored.values, scaling)
        mixed = mixed[0].transpose(0, 1).contiguous()
        self._run("narrow", len(query), mixed=mixed, scale=scale, active=out)

    def _norm(
        self,
        hidden: torch.Tensor,
        added: torch.Tensor,
        linear: Int4Linear | None,
        weight: torch.Tensor | None,
        normed: torch.Tensor | None,
    ) -> None:
        """Add a layer's product to hidden, then norm it; either may be missing."""
        self._run(
            "norm", len(hidden), hidden=hidden, added=None if linear is None else added,
            bias=None if linear is None else linear.bias, weight=weight, normed=normed,
        )  # fmt: skip

    def _run(self, name: str, rows: int, start: int = 0, **tensors: torch.Tensor | None) -> None:
        """One of the kernels' passes; the tensors by their names in PromptRows."""
        given = {key: None if t is None else t.data_ptr() for key, t in tensors.items()}
        step = native.PromptRows(
            rows=rows, start=start, capacity=self._cache.capacity, **self._sizes, **given
        )
        run = getattr(self._kernels, f"vila_prompt_{name}")
        native.check(run(ctypes.byref(step), native.threads()))
