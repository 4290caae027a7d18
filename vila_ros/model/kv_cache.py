# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Keys and values of several sequences side by side, each in its own slot.

The cache is preallocated: per layer one tensor of keys and one of values, [slots, kv_heads,
capacity, head_dim]. A sequence owns a slot; its position p is row p there, so sequences of
different lengths decode in one forward, a finished one leaves its rows behind for the next question
(prefix_cache), and nothing is ever moved or padded.

Which rows a forward writes and sees is said by a plan: Prefill (one sequence, many new tokens),
Decode (many sequences, one new token each, exact lengths) or StaticDecode (the same with static
shapes, for CUDA graphs). The language model stays transformers' own: the plan reaches it through
its two extension points, a Cache subclass and a registered attention function.

Memory: 2 x layers x kv_heads x head_dim x bytes(dtype) per position and slot; bytes_per_position
says it. VILA1.5-3b in bfloat16: 320 KiB, so 1.25 GiB for one slot of 4096 positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PretrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin

ATTENTION = "vila_slots"
"""Name under which transformers finds slot_attention."""

BLOCK = 512
"""Positions by which the capacity grows on the CPU."""


@dataclass(frozen=True)
class Prefill:
    """New tokens of one sequence: rows [start, start + length) of a slot.

    mask: bool [length, start + length], what each new token sees; None is causal.
    """

    slot: int
    start: int
    length: int
    mask: torch.Tensor | None = None

    @property
    def seen(self) -> int:
        """Positions that attention reads."""
        return self.start + self.length

    def write(self, keys: torch.Tensor, new: torch.Tensor) -> None:
        """Store new [1, kv_heads, length, head_dim] in keys [slots, kv_heads, capacity, d]."""
        keys[self.slot : self.slot + 1, :, self.start : self.seen] = new

    def attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of query [1, heads, length, head_dim]; returns the same shape."""
        keys = keys[self.slot : self.slot + 1, :, : self.seen]
        values = values[self.slot : self.slot + 1, :, : self.seen]
        mask = self.mask
        if mask is None and self.start > 0:
            mask = causal_mask(self.start, self.length, query.device)
        return F.scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=query.shape[1] != keys.shape[1],
        )


@dataclass(frozen=True)
class Decode:
    """One new token for each of several sequences, with exact lengths.

    slots, positions: int64 [batch]; row i is written at positions[i] of slots[i] and sees
    [0, positions[i]]. rows: the same as plain numbers.
    Each row has its own attention call over a view of its slot: no padding, no gathering, and a
    row's arithmetic there does not depend on its batch mates.
    """

    slots: torch.Tensor
    positions: torch.Tensor
    rows: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, rows: tuple[tuple[int, int], ...], device: torch.device) -> Decode:
        """The plan of (slot, position) pairs."""
        slots, positions = zip(*rows, strict=True)
        return cls(torch.tensor(slots, device=device), torch.tensor(positions, device=device), rows)

    @property
    def seen(self) -> int:
        """Positions that the longest row's attention reads."""
        return max(position for _, position in self.rows) + 1

    def write(self, keys: torch.Tensor, new: torch.Tensor) -> None:
        """Store new [batch, kv_heads, 1, head_dim]."""
        keys[self.slots, :, self.positions] = new[:, :, 0]

    def attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of query [batch, heads, 1, head_dim]; returns the same shape."""
        packed = pack_heads(query, keys.shape[1])
        rows = [
            F.scaled_dot_product_attention(
                packed[i : i + 1],
                keys[slot : slot + 1, :, : position + 1],
                values[slot : slot + 1, :, : position + 1],
                scale=scaling,
            )
            for i, (slot, position) in enumerate(self.rows)
        ]
        return torch.cat(rows).reshape(query.shape)


@dataclass(frozen=True)
class StaticDecode:
    """Decode with static shapes: nothing but the contents of two tensors changes between steps, so
    that one CUDA graph serves every step.

    slots, positions: int64 [batch], on the device. seen: positions read, a fixed bound of them all;
    rows beyond a sequence's own are masked. slot: set when the batch is one row, whose keys are
    then read in place; several rows are gathered.
    """

    slots: torch.Tensor
    positions: torch.Tensor
    seen: int
    slot: int | None = None

    def write(self, keys: torch.Tensor, new: torch.Tensor) -> None:
        """Store new [batch, kv_heads, 1, head_dim]."""
        keys[self.slots, :, self.positions] = new[:, :, 0]

    def attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """Attention of query [batch, heads, 1, head_dim]; returns the same shape.

        Written out instead of scaled_dot_product_attention, whose kernels for one query token with
        a mask run one block a head and leave most of a GPU idle.
        """
        if self.slot is not None:
            keys = keys[self.slot : self.slot + 1, :, : self.seen]
            values = values[self.slot : self.slot + 1, :, : self.seen]
        else:
            keys = keys[:, :, : self.seen].index_select(0, self.slots)
            values = values[:, :, : self.seen].index_select(0, self.slots)
        packed = pack_heads(query, keys.shape[1])
        visible = torch.arange(self.seen, device=query.device) <= self.positions[:, None]
        scores = torch.matmul(packed, keys.transpose(2, 3)).float() * scaling
        scores = scores.masked_fill(~visible[:, None, None], -math.inf)
        weights = torch.softmax(scores, dim=-1).to(values.dtype)
        return torch.matmul(weights, values).reshape(query.shape)


Plan = Prefill | Decode | StaticDecode


def pack_heads(query: torch.Tensor, kv_heads: int) -> torch.Tensor:
    """[batch, heads, 1, d] -> [batch, kv_heads, heads / kv_heads, d]: grouped queries become rows,
    so that keys need not be repeated."""
    batch, heads, _, size = query.shape
    return query.reshape(batch, kv_heads, heads // kv_heads, size)


def causal_mask(start: int, length: int, device: torch.device) -> torch.Tensor:
    """Mask bool [length, start + length]: token i of a chunk sees [0, start + i]."""
    mask = torch.ones(length, start + length, dtype=torch.bool, device=device)
    return mask.tril_(start)


def slot_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    plan: Plan,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function for transformers; key and value are whole layers of a SlotCache.

    query: [batch, heads, new, head_dim]. Returns [batch, new, heads, head_dim].
    """
    out = plan.attend(query, key, value, scaling)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, slot_attention)


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, [slots, kv_heads, capacity, head_dim]."""

    is_compileable = True
    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, context_length: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.plan: Plan | None = None
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Nothing: SlotCache allocates."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the new rows where the plan says; returns the whole layer."""
        assert self.plan is not None
        self.plan.write(self.keys, key_states)
        self.plan.write(self.values, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what attention reads."""
        return (self.plan.seen if self.plan else query_length), 0

    def get_seq_length(self) -> int:
        """0: sequences have lengths, a layer of slots has none; positions are always given."""
        return 0

    def get_max_length(self) -> int:
        """The context length."""
        return self.context_length


class SlotCache(Cache):
    """Keys and values of `slots` sequences of up to `context_length` positions each.

    On a GPU all of it is allocated at once (static addresses, which CUDA graphs need); on the CPU
    the capacity grows by BLOCK positions as the longest sequence does, and stays.
    """

    def __init__(
        self,
        config: PretrainedConfig,
        *,
        slots: int,
        context_length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.slots = slots
        self.context_length = context_length
        self.dtype = dtype
        self.device = device
        self.capacity = 0
        heads = config.num_attention_heads
        self.kv_heads = getattr(config, "num_key_value_heads", None) or heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        layers = [SlotLayer(context_length) for _ in range(config.num_hidden_layers)]
        super().__init__(layers=layers)
        self._allocate(context_length if device.type == "cuda" else min(BLOCK, context_length))

    @property
    def bytes_per_position(self) -> int:
        """Bytes that one position of one slot takes over all layers."""
        return 2 * len(self.layers) * self.kv_heads * self.head_dim * self.dtype.itemsize

    @property
    def allocated_bytes(self) -> int:
        """Bytes held now."""
        return self.bytes_per_position * self.slots * self.capacity

    @property
    def limit_bytes(self) -> int:
        """Bytes held at most."""
        return self.bytes_per_position * self.slots * self.context_length

    def set_plan(self, plan: Plan) -> None:
        """What the next forward writes and sees."""
        for layer in self.layers:
            layer.plan = plan

    def reserve(self, length: int) -> None:
        """Make room for `length` positions in every slot; may raise torch's out-of-memory errors
        and then leaves the cache as it was."""
        if length > self.context_length:
            raise ValueError(f"{length} positions asked of a cache of {self.context_length}")
        if length > self.capacity:
            blocks = math.ceil(length / BLOCK)
            self._allocate(min(blocks * BLOCK, self.context_length))

    def copy_rows(self, source: int, target: int, length: int) -> None:
        """Copy positions [0, length) of one slot to another."""
        for layer in self.layers:
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def _allocate(self, capacity: int) -> None:
        shape = (self.slots, self.kv_heads, capacity, self.head_dim)
        for layer in self.layers:
            for name in ("keys", "values"):
                # Zeros: masked rows meet weights of 0, and 0 x NaN would be NaN.
                grown = torch.zeros(shape, dtype=self.dtype, device=self.device)
                if self.capacity:
                    old = getattr(layer, name)[:, :, : self.capacity]
                    grown[:, :, : self.capacity] = old
                setattr(layer, name, grown)
        self.capacity = capacity
