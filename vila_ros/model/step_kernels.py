# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of a language model's step between its products: norms, attention, the gate.

Each does what several kernels of torch's would, rounding where transformers' modules round.
TRITON_INTERPRET=1 runs them on the CPU, by which they are tested where there is no GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK = 64
"""Positions whose keys and values a program holds at a time."""

MOST_SPLITS = 32
"""Parts into which a sequence's positions are split at most, for as many programs."""

LINE_OUTPUTS = 2
"""Outputs of a program of line_product; the best of eight choices for all shapes on an H100."""


@triton.jit
def norm_kernel(
    hidden, delta, weight, scale, out, width, epsilon,
    ADDED: tl.constexpr, SCALED: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Hidden += delta, then out = RMS norm of it; a row a program."""
    column = tl.arange(0, WIDTH)
    inside = column < width
    first = tl.program_id(0) * width
    row = tl.load(hidden + first + column, inside, other=0).to(tl.float32)
    kind = out.dtype.element_ty
    if ADDED:
        row += tl.load(delta + first + column, inside, other=0).to(tl.float32)
        row = row.to(kind)
        tl.store(hidden + first + column, row, inside)
        row = row.to(tl.float32)
    mean = tl.sum(row * row, axis=0) / width
    normed = (row * (1.0 / tl.sqrt(mean + epsilon))).to(kind).to(tl.float32)
    normed *= tl.load(weight + column, inside, other=0).to(tl.float32)
    if SCALED:
        normed = normed.to(kind).to(tl.float32) * tl.load(scale + column, inside, other=0)
    tl.store(out + first + column, normed.to(kind), inside)


@triton.jit
def attend_kernel(
    projected,  # [rows, (heads + 2 kv_heads) * SIZE]: queries, keys, values
    keys,  # [slots, kv_heads, capacity, SIZE]
    values,
    slots,  # int64 [rows]
    positions,  # int64 [rows]
    cosine,  # [positions, SIZE]
    sine,
    sums,  # float32 [rows, heads, splits, SIZE]
    peaks,  # float32 [rows, heads, splits]
    weights,  # float32 [rows, heads, splits]
    kv_heads,
    capacity,
    splits,
    scaling,
    GROUP: tl.constexpr,
    QUERIES: tl.constexpr,
    SIZE: tl.constexpr,
    SPLIT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The queries of one key head over SPLIT positions of a sequence; a program each.

    Turns queries and the new key by their position. The program whose positions hold the new one
    also writes its key and value to the cache.
    """
    split, head, row = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    position = tl.load(positions + row)
    first = split * SPLIT
    if first <= position:
        kind = keys.dtype.element_ty
        at = tl.arange(0, SIZE)
        partner = (at + SIZE // 2) % SIZE
        sign = tl.where(at < SIZE // 2, -1.0, 1.0)
        cos = tl.load(cosine + position * SIZE + at).to(tl.float32)
        sin = tl.load(sine + position * SIZE + at).to(tl.float32) * sign
        heads = kv_heads * GROUP
        base = projected + row * (heads + 2 * kv_heads) * SIZE

        number = tl.arange(0, QUERIES)[:, None]
        mine = number < GROUP
        start = base + (head * GROUP + number) * SIZE
        query = tl.load(start + at[None, :], mine, other=0).to(tl.float32) * cos[None, :]
        query += tl.load(start + partner[None, :], mine, other=0).to(tl.float32) * sin[None, :]
        query = query.to(kind)

        start = base + (heads + head) * SIZE
        key = tl.load(start + at).to(tl.float32) * cos
        key = (key + tl.load(start + partner).to(tl.float32) * sin).to(kind)
        value = tl.load(start + kv_heads * SIZE + at)
        slot = tl.load(slots + row)
        begun = (slot * kv_heads + head) * capacity * SIZE
        if position < first + SPLIT:
            tl.store(keys + begun + position * SIZE + at, key)
            tl.store(values + begun + position * SIZE + at, value)

        peak = tl.full([QUERIES], -float("inf"), tl.float32)
        weight = tl.zeros([QUERIES], tl.float32)
        total = tl.zeros([QUERIES, SIZE], tl.float32)
        for begin in range(first, tl.minimum(first + SPLIT, position + 1), BLOCK):
            seen = begin + tl.arange(0, BLOCK)
            # The new row is taken from here: other threads may not have written it yet.
            kept = (seen < position)[:, None]
            new = (seen == position)[:, None]
            place = begun + seen[:, None] * SIZE + at[None, :]
            known = tl.where(new, key[None, :], tl.load(keys + place, kept, other=0))
            scores = tl.dot(query, tl.trans(known), input_precision="ieee") * scaling
            scores = tl.where((seen <= position)[None, :], scores, -float("inf"))
            higher = tl.maximum(peak, tl.max(scores, axis=1))
            shrunk = tl.exp(peak - higher)
            shares = tl.exp(scores - higher[:, None])
            weight = weight * shrunk + tl.sum(shares, axis=1)
            held = tl.where(new, value[None, :], tl.load(values + place, kept, other=0))
            total = total * shrunk[:, None]
            total += tl.dot(shares.to(kind), held, input_precision="ieee")
            peak = higher

        place = (row * heads + head * GROUP + tl.arange(0, QUERIES)) * splits + split
        mine = tl.arange(0, QUERIES) < GROUP
        tl.store(peaks + place, peak, mine)
        tl.store(weights + place, weight, mine)
        tl.store(sums + place[:, None] * SIZE + at[None, :], total, mine[:, None])


@triton.jit
def gather_kernel(
    sums, peaks, weights, positions, scale, out, heads, splits,
    SIZE: tl.constexpr, SPLIT: tl.constexpr, SPLITS: tl.constexpr, SCALED: tl.constexpr,
):  # fmt: skip
    """Put a head's splits together; a program each."""
    head, row = tl.program_id(0), tl.program_id(1)
    used = tl.load(positions + row) // SPLIT + 1
    split, at = tl.arange(0, SPLITS), tl.arange(0, SIZE)
    place = (row * heads + head) * splits + split
    inside = split < used
    peak = tl.load(peaks + place, inside, other=-float("inf"))
    share = tl.exp(peak - tl.max(peak, axis=0))
    weight = tl.sum(share * tl.load(weights + place, inside, other=0), axis=0)
    total = tl.load(sums + place[:, None] * SIZE + at[None, :], inside[:, None], other=0)
    kind = out.dtype.element_ty
    result = (tl.sum(total * share[:, None], axis=0) / weight).to(kind)
    column = head * SIZE + at
    if SCALED:
        result = (result.to(tl.float32) * tl.load(scale + column)).to(kind)
    tl.store(out + row * heads * SIZE + column, result)


@triton.jit
def gate_kernel(both, scale, out, width, SCALED: tl.constexpr, WIDTH: tl.constexpr):
    """Out = silu(gate) * up of rows that hold gate and up behind each other."""
    column = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    row = tl.program_id(1).to(tl.int64)
    inside = column < width
    first = both + row * 2 * width + column
    kind = out.dtype.element_ty
    gate = tl.load(first, inside, other=0).to(tl.float32)
    gate = (gate / (1.0 + tl.exp(-gate))).to(kind).to(tl.float32)
    opened = gate * tl.load(first + width, inside, other=0).to(tl.float32)
    if SCALED:
        opened = opened.to(kind).to(tl.float32) * tl.load(scale + column, inside, other=0)
    tl.store(out + row * width + column, opened.to(kind), inside)


@triton.jit
def rotate_kernel(
    projected,  # [rows, (heads + 2 kv_heads) * SIZE]: queries, keys, values
    keys,  # [kv_heads, capacity, SIZE], of the sequence's slot
    values,
    positions,  # int64 [rows]
    cosine,  # [positions, SIZE]
    sine,
    queries,  # [heads, rows, SIZE]
    rows,
    start,
    heads,
    kv_heads,
    capacity,
    HEADS: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Turn a row's queries; turn its keys and store them with their values. A row a program."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.arange(0, HEADS)[:, None]
    at = tl.arange(0, SIZE)[None, :]
    sign = tl.where(at < SIZE // 2, -1.0, 1.0)
    position = tl.load(positions + row)
    cos = tl.load(cosine + position * SIZE + at).to(tl.float32)
    sin = tl.load(sine + position * SIZE + at).to(tl.float32) * sign
    inside = head < heads + kv_heads
    first = projected + (row * (heads + 2 * kv_heads) + head) * SIZE
    turned = tl.load(first + at, inside, other=0).to(tl.float32) * cos
    turned += tl.load(first + (at + SIZE // 2) % SIZE, inside, other=0).to(tl.float32) * sin
    turned = turned.to(queries.dtype.element_ty)
    tl.store(queries + (head * rows + row) * SIZE + at, turned, head < heads)
    key = inside & (head >= heads)
    place = ((head - heads).to(tl.int64) * capacity + start + row) * SIZE + at
    tl.store(keys + place, turned, key)
    tl.store(values + place, tl.load(first + kv_heads * SIZE + at, key, other=0), key)


@triton.jit
def line_kernel(
    x, weight, bias, out, outputs, columns,
    BIASED: tl.constexpr, OUTPUTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """OUTPUTS outputs of one row."""
    output = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    there = output < outputs
    sums = tl.zeros([OUTPUTS, COLUMNS], tl.float32)
    for start in range(0, columns, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        known = column < columns
        place = weight + output[:, None].to(tl.int64) * columns + column[None, :]
        part = tl.load(place, there[:, None] & known[None, :], other=0).to(tl.float32)
        sums += part * tl.load(x + column, known, other=0).to(tl.float32)[None, :]
    total = tl.sum(sums, axis=1)
    if BIASED:
        total += tl.load(bias + output, there, other=0).to(tl.float32)
    tl.store(out + output, total.to(out.dtype.element_ty), there)


def normed(
    hidden: torch.Tensor,
    delta: torch.Tensor | None,
    weight: torch.Tensor,
    epsilon: float,
    scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """RMS norm of hidden [rows, width], to which delta is added first, in place.

    scale: float32 [width], multiplies the result: the input scale of what reads it.
    """
    rows, width = hidden.shape
    out = torch.empty_like(hidden)
    norm_kernel[(rows,)](
        hidden, delta, weight, scale, out, width, epsilon, ADDED=delta is not None,
        SCALED=scale is not None, WIDTH=triton.next_power_of_2(width), num_warps=8,
    )  # fmt: skip
    return out


def attended(
    projected: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    slots: torch.Tensor,
    positions: torch.Tensor,
    turns: tuple[torch.Tensor, torch.Tensor],
    seen: int,
    scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of one new token a row, whose key and value are stored first.

    projected: [rows, (heads + 2 kv_heads) * size], before rotation. keys, values: a layer's cache
    [slots, kv_heads, capacity, size]. slots, positions: int64 [rows]; positions are below `seen`.
    turns: cosines and sines [positions, size]. scale: as of normed(). Returns [rows, heads * size].
    """
    _, kv_heads, capacity, size = keys.shape
    rows = len(projected)
    heads = projected.shape[1] // size - 2 * kv_heads
    group = heads // kv_heads
    split = max(BLOCK, triton.next_power_of_2(triton.cdiv(seen, MOST_SPLITS)))
    splits = triton.cdiv(seen, split)
    sums = projected.new_empty((rows, heads, splits, size), dtype=torch.float32)
    peaks, weights = projected.new_empty((2, rows, heads, splits), dtype=torch.float32)
    attend_kernel[(splits, kv_heads, rows)](
        projected, keys, values, slots, positions, *turns, sums, peaks, weights, kv_heads, capacity,
        splits, size**-0.5, GROUP=group, QUERIES=max(16, triton.next_power_of_2(group)), SIZE=size,
        SPLIT=split, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip
    out = projected.new_empty((rows, heads * size))
    gather_kernel[(heads, rows)](
        sums, peaks, weights, positions, scale, out, heads, splits, SIZE=size, SPLIT=split,
        SPLITS=triton.next_power_of_2(splits), SCALED=scale is not None, num_warps=4,
    )  # fmt: skip
    return out


def rotated(
    projected: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    start: int,
    positions: torch.Tensor,
    turns: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """Queries [heads, rows, size] of a prompt's rows, whose keys and values are stored from row
    `start` of a slot, keys and values [kv_heads, capacity, size]. Others: as of attended()."""
    kv_heads, capacity, size = keys.shape
    rows = len(projected)
    heads = projected.shape[1] // size - 2 * kv_heads
    queries = projected.new_empty((heads, rows, size))
    rotate_kernel[(rows,)](
        projected, keys, values, positions, *turns, queries, rows, start, heads, kv_heads, capacity,
        HEADS=triton.next_power_of_2(heads + kv_heads), SIZE=size, num_warps=4,
    )  # fmt: skip
    return queries


def gated(both: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
    """silu(gate) * up of [rows, 2 width], gates first -> [rows, width]. scale: as of normed()."""
    rows, width = both.shape[0], both.shape[1] // 2
    out = both.new_empty((rows, width))
    gate_kernel[(triton.cdiv(width, 1024), rows)](
        both, scale, out, width, SCALED=scale is not None, WIDTH=1024, num_warps=4
    )
    return out


def line_product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """One row, [1, in], times weight [out, in] -> [1, out]: at the speed of reading the weight."""
    outputs, columns = weight.shape
    out = x.new_empty((1, outputs))
    line_kernel[(triton.cdiv(outputs, LINE_OUTPUTS),)](
        x, weight, bias, out, outputs, columns, BIASED=bias is not None, OUTPUTS=LINE_OUTPUTS,
        COLUMNS=1024, num_warps=4,
    )  # fmt: skip
    return out
