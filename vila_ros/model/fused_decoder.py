# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Decode steps and prompts on a GPU in some ten kernels a block, nothing to compile but those.

A step of transformers' modules is several times as many, and torch's compiler, which joins some of
them, had not finished a 3B model's after a minute. Here products that share an input are one
product, and what lies between two products is one kernel of step_kernels, or two. Steps are
captured in CUDA graphs as those of a StaticDecoder are; prompts are launched as they come.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel

from vila_ros.errors import is_device_lost
from vila_ros.model.decoder import Decoder, Inputs, StaticDecoder, most_probable
from vila_ros.model.int4_prompt import LINEARS
from vila_ros.model.kv_cache import Decode, Prefill, SlotCache, SlotLayer
from vila_ros.model.memory import is_out_of_memory
from vila_ros.model.step_kernels import attended, gated, line_product, normed, rotated
from vila_ros.quantization.cuda_int4 import CudaInt4
from vila_ros.quantization.int4_linear import WIDE, Int4Linear
from vila_ros.quantization.int4_weight import Int4Weight
from vila_ros.quantization.triton_int4 import restored

log = logging.getLogger(__name__)

MOST_DIFFERENCE = 0.1
"""Of FusedDecoder.difference: well above what rounding makes (tests allow 0.02 in four bits), well
below what a wrong kernel does. Not yet seen on a GPU with a large model."""

JOINED = (("query", "key", "value"), ("output",), ("gate", "up"), ("down",))
"""The products of a block that read the same input."""


def can_fuse(language_model: PreTrainedModel, cache: SlotCache) -> bool:
    """Whether the kernels know the model: a Llama or Qwen2 whose products are all in four bits, or
    none of them."""
    config = language_model.config
    kind = getattr(language_model.model.rotary_emb, "rope_type", "default")
    size = cache.head_dim
    return (
        config.model_type in ("llama", "qwen2")
        and config.hidden_act == "silu"
        and size >= 16
        and size & (size - 1) == 0
        and not getattr(config, "use_sliding_window", False)
        and "dynamic" not in kind
        and kind != "longrope"
        and all(_can_join(layer) for layer in language_model.model.layers)
    )


def _can_join(layer: nn.Module) -> bool:
    groups = [[layer.get_submodule(LINEARS[name]) for name in names] for names in JOINED]
    kinds = {type(linear) for linears in groups for linear in linears}
    biases = [[linear.bias is None for linear in linears] for linears in groups]
    if any(len(set(absent)) > 1 for absent in biases):
        return False
    if kinds == {nn.Linear}:
        return True
    return kinds == {Int4Linear} and all(_alike(linears) for linears in groups)  # type: ignore[arg-type]


def _alike(linears: list[Int4Linear]) -> bool:
    """Whether products can be one of torch's kernel: the same groups, and inputs scaled alike."""
    first = linears[0]
    return all(
        CudaInt4.takes(linear.weight)
        and linear.scales.dtype == first.scales.dtype
        and linear.weight.group == first.weight.group
        and _equal(linear.input_scale, first.input_scale)
        for linear in linears
    )


def _equal(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)


@dataclass(frozen=True, eq=False)
class Product:
    """Products of one input as one. weight: [out, in]. packed: the same in four bits for a few
    rows. bias: [out]. scale: float32 [in], to multiply the input by before; None for 1."""

    weight: Int4Weight | torch.Tensor
    packed: CudaInt4 | None
    bias: torch.Tensor | None
    scale: torch.Tensor | None

    @classmethod
    def of(cls, linears: list[nn.Module]) -> Product:
        """Lay the weights side by side; the modules keep views of them, so that memory does not
        grow."""
        biases = [linear.bias for linear in linears if isinstance(linear.bias, torch.Tensor)]
        bias = torch.cat(biases) if biases else None
        four = [linear for linear in linears if isinstance(linear, Int4Linear)]
        if four:
            joined = _joined(four)
            return cls(joined, CudaInt4.of(joined), bias, four[0].input_scale)
        weights = [linear.get_parameter("weight") for linear in linears]
        whole = torch.cat([weight.data for weight in weights]) if weights[1:] else weights[0].data
        parts = whole.split([len(weight) for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part
        return cls(whole, None, bias, None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Rows [n, in], scaled -> [n, out]."""
        if isinstance(self.weight, torch.Tensor):
            if len(x) == 1:
                return line_product(x, self.weight, self.bias)
            return F.linear(x, self.weight, self.bias)
        if self.packed is not None and len(x) <= WIDE:
            out = self.packed.product(x).to(x.dtype)
        else:
            out = F.linear(x, restored(self.weight, x.dtype))
        return out if self.bias is None else (out + self.bias).to(x.dtype)


def _joined(linears: list[Int4Linear]) -> Int4Weight:
    weights = [linear.weight for linear in linears]
    packed, scales, zeros = (
        torch.cat([getattr(weight, name) for weight in weights])
        for name in ("packed", "scales", "zeros")
    )
    begin = 0
    for linear, weight in zip(linears, weights, strict=True):
        rows = slice(begin, begin + weight.rows)
        linear.hold(
            Int4Weight(packed[rows], scales[rows], zeros[rows], input_scale=weight.input_scale)
        )
        begin = rows.stop
    return Int4Weight(packed, scales, zeros)


@dataclass(frozen=True, eq=False)
class Block:
    """One block of the language model."""

    input_norm: torch.Tensor
    project: Product
    output: Product
    post_norm: torch.Tensor
    gate: Product
    down: Product

    @classmethod
    def of(cls, layer: nn.Module) -> Block:
        """Takes over the weights of a Llama's or Qwen2's block."""
        project, output, gate, down = (
            Product.of([layer.get_submodule(LINEARS[name]) for name in names]) for names in JOINED
        )
        input_norm, post_norm = (
            layer.get_submodule(name).get_parameter("weight")
            for name in ("input_layernorm", "post_attention_layernorm")
        )
        return cls(input_norm, project, output, post_norm, gate, down)


Attention = Callable[[torch.Tensor, Block, SlotLayer], torch.Tensor]
"""Projected rows [n, (heads + 2 kv_heads) * size], a block, its cache -> what its output product
takes."""


class FusedDecoder(StaticDecoder):
    """A StaticDecoder whose steps and prompts are computed by few kernels; see can_fuse."""

    in_place = False

    def __init__(self, language_model: PreTrainedModel, cache: SlotCache) -> None:
        super().__init__(language_model, cache)
        self._blocks = [Block.of(layer) for layer in language_model.model.layers]
        self._epsilon = float(language_model.config.rms_norm_eps)
        self._norm = language_model.model.norm.weight
        positions = torch.arange(cache.context_length, device=cache.device)[None]
        like = torch.empty(0, dtype=cache.dtype, device=cache.device)
        cosine, sine = language_model.model.rotary_emb(like, positions)
        self._turns = (cosine[0].contiguous(), sine[0].contiguous())

    def difference(self) -> float:
        """How far steps and prompts are on this device from those of the modules: the norm of the
        logits' difference over their norm. The cache must be unused."""
        slots = range(min(2, self.cache.slots))
        table = self._embed.weight
        tokens = (torch.arange(20 + len(slots)) * 37 + 11) % len(table)
        rows = self._embed(tokens.to(self.cache.device))
        steps = tuple((slot, 20 + slot) for slot in slots)
        logits = []
        for decoder in (Decoder(self._language_model, self.cache), self):
            for slot, length in steps:
                told = decoder.prefill(slot, 0, rows[:length], last=True)
                assert told is not None
                logits.append(told[None])
            if decoder is self:
                places = torch.tensor(steps, device=self.cache.device).T.contiguous()
                given = Inputs(tokens[: len(slots)].to(places.device), *places)
                logits.append(self._compute(given, self.cache.context_length, None)[0])
            else:
                logits.append(decoder.decode(steps, tokens[: len(slots)].tolist()).logits)
        right, found = torch.cat(logits).chunk(2)
        return float((found - right).norm() / right.norm())

    def _forward(
        self, embeddings: torch.Tensor, positions: torch.Tensor, plan: Prefill | Decode
    ) -> torch.Tensor:
        if not isinstance(plan, Prefill):
            return super()._forward(embeddings, positions, plan)
        size = self.cache.head_dim

        def attention(projected: torch.Tensor, block: Block, cached: SlotLayer) -> torch.Tensor:
            keys, values = cached.keys[plan.slot], cached.values[plan.slot]
            queries = rotated(projected, keys, values, plan.start, positions[0], self._turns)
            told = plan.attend(queries[None], cached.keys, cached.values, size**-0.5)
            told = told[0].transpose(0, 1).reshape(len(projected), -1)
            scale = block.output.scale
            return told if scale is None else (told * scale).to(told.dtype)

        # What is given must not change: the first block adds to it in place.
        return self._through(embeddings[0].clone(), attention)[None]

    def _compute(
        self, inputs: Inputs, seen: int, slot: int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See StaticDecoder._compute."""

        def attention(projected: torch.Tensor, block: Block, cached: SlotLayer) -> torch.Tensor:
            return attended(
                projected, cached.keys, cached.values, inputs.slots, inputs.positions, self._turns,
                seen, block.output.scale,
            )  # fmt: skip

        logits = self._logits(self._through(self._embed(inputs.tokens), attention))
        return (logits, *most_probable(logits))

    def _through(self, hidden: torch.Tensor, attention: Attention) -> torch.Tensor:
        """Rows [n, hidden], which change, through all blocks and the last norm."""
        delta: torch.Tensor | None = None
        for block, cached in zip(self._blocks, self.cache.layers, strict=True):
            given = normed(hidden, delta, block.input_norm, self._epsilon, block.project.scale)
            delta = block.output(attention(block.project(given), block, cached))
            given = normed(hidden, delta, block.post_norm, self._epsilon, block.gate.scale)
            delta = block.down(gated(block.gate(given), block.down.scale))
        return normed(hidden, delta, self._norm, self._epsilon)


def checked(language_model: PreTrainedModel, cache: SlotCache) -> FusedDecoder | None:
    """A FusedDecoder that computes on this device what the modules do; None, with a warning, where
    it does not. The cache must be unused."""
    try:
        fused = FusedDecoder(language_model, cache)
        difference = fused.difference()
    # Whatever a compiler or a GPU that nobody tried may raise, the modules are still there.
    except Exception as error:
        if is_out_of_memory(error) or is_device_lost(error):
            raise
        trouble = f"{type(error).__name__}: {error}"
    else:
        if difference < MOST_DIFFERENCE:
            return fused
        trouble = f"their logits differ by {difference:.3g}, at most {MOST_DIFFERENCE} is rounding"
    log.warning(
        "the kernels for %s are not used on %s, answers take longer: %s",
        language_model.config.model_type, cache.device, trouble,
    )  # fmt: skip
    return None
