# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""AWQ's search in one decoder block: which channels to scale up, and where to clip.

The algorithm is that of mit-han-lab/llm-awq, awq/quantize/auto_scale.py and auto_clip.py: scales
are searched on unscaled weights for all groups of the block, then applied; clips are searched on
the scaled weights, then applied; rounding comes last. All of it is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vila_ros.quantization.groups import GROUP, pseudo_quantise

RATIOS = 20
"""Exponents tried: 0, 1/20, … 19/20."""
CLIP_GRID = 20
CLIP_STEPS = 10  # of the grid: down to (1 - 9/20) of the largest weight
CLIP_TOKENS = 512
ROWS_AT_ONCE = 256  # of a weight, in the clip search

ROWS_INSPECTED = 2048
"""Of activations, that a module whose output is compared computes at once."""
READS_WITH = {
    "self_attn.k_proj": "self_attn.q_proj",
    "self_attn.v_proj": "self_attn.q_proj",
    "mlp.up_proj": "mlp.gate_proj",
}
"""Linear layers that read what another reads."""

UNCLIPPED = ("q_proj", "k_proj")
"""Clipping these is skipped, as their product decides, not each alone."""


@dataclass(frozen=True)
class Rounding:
    """How weights will be rounded."""

    group: int = GROUP
    symmetric: bool = False

    def __call__(self, weight: torch.Tensor) -> torch.Tensor:
        """A weight after rounding."""
        return pseudo_quantise(weight, self.group, self.symmetric)


@dataclass(frozen=True)
class ScaleGroup:
    """Linears that read the same activations, and the operation before them that is scaled down.

    inspected: the module whose output the search compares. Names are those within the block.
    """

    previous: str
    linears: tuple[str, ...]
    inspected: str


@dataclass(frozen=True, eq=False)
class FoundScale:
    """A scale that was found. losses: of each ratio; mean: mean |x| a channel."""

    group: ScaleGroup
    scales: torch.Tensor
    ratio: float
    losses: tuple[float, ...]
    mean: torch.Tensor


@dataclass(frozen=True, eq=False)
class BlockInputs:
    """What a block and its linears met in calibration.

    samples: hidden states [1, n, hidden], one a sample. contexts: the block's further arguments a
    sample. linears: name -> all tokens' inputs [tokens, in]. attention: the inputs of self_attn a
    sample.
    """

    samples: Sequence[torch.Tensor]
    contexts: Sequence[Mapping[str, Any]]
    linears: dict[str, torch.Tensor] = field(default_factory=dict)
    attention: list[torch.Tensor] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class BlockSearch:
    """The result for a block. clips: linear -> largest magnitudes [out, in / group, 1]. scaled:
    linear -> its weight, scaled and not yet clipped."""

    scales: tuple[FoundScale, ...]
    clips: Mapping[str, torch.Tensor]
    scaled: Mapping[str, torch.Tensor]


def linears_of(block: nn.Module) -> dict[str, nn.Linear]:
    """The block's linear layers by name, in the order of its definition."""
    return {n: m for n, m in block.named_modules() if isinstance(m, nn.Linear)}


def scale_groups(block: nn.Module) -> tuple[ScaleGroup, ...]:
    """The groups of a Llama or Qwen2 block, in the reference's order."""
    linears = linears_of(block)
    value, output = linears["self_attn.v_proj"], linears["self_attn.o_proj"]
    groups = [
        ScaleGroup(
            "input_layernorm",
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "self_attn",
        )
    ]
    # With grouped queries a value's channel feeds several of the output's: no scale to share.
    if value.weight.shape == output.weight.shape:
        groups.append(ScaleGroup("self_attn.v_proj", ("self_attn.o_proj",), "self_attn.o_proj"))
    groups += [
        ScaleGroup("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj"), "mlp"),
        ScaleGroup("mlp.up_proj", ("mlp.down_proj",), "mlp.down_proj"),
    ]
    return tuple(groups)


@torch.no_grad()
def run_block(
    block: nn.Module, samples: Sequence[torch.Tensor], contexts: Sequence[Mapping[str, Any]]
) -> list[torch.Tensor]:
    """The block's output for each sample."""
    return [
        _first(block(sample, **context)) for sample, context in zip(samples, contexts, strict=True)
    ]


@torch.no_grad()
def observe(
    block: nn.Module, samples: Sequence[torch.Tensor], contexts: Sequence[Mapping[str, Any]]
) -> tuple[BlockInputs, list[torch.Tensor]]:
    """Run the block as it is; what its linears met, and its outputs."""
    linears = linears_of(block)
    counts = [sample.shape[:-1].numel() for sample in samples]
    # q, k and v read the same tensor, gate and up too: one copy serves them.
    kept = {
        name: _Kept(sum(counts), linear)
        for name, linear in linears.items()
        if name not in READS_WITH
    }
    hooks = [linears[name].register_forward_pre_hook(each) for name, each in kept.items()]
    try:
        outputs = run_block(block, samples, contexts)
    finally:
        for hook in hooks:
            hook.remove()
    inputs = {name: kept[READS_WITH.get(name, name)].rows for name in linears}
    attention = [
        rows.view(sample.shape)
        for rows, sample in zip(kept["self_attn.q_proj"].rows.split(counts), samples, strict=True)
    ]
    return BlockInputs(samples, contexts, inputs, attention), outputs


def search_block(block: nn.Module, inputs: BlockInputs, rounding: Rounding) -> BlockSearch:
    """Search scales and clips, and apply both to the block's float weights in place."""
    scales = tuple(search_scale(block, group, inputs, rounding) for group in scale_groups(block))
    for found in scales:
        apply_scale(block, found, inputs)
    scaled = {name: linear.weight.data for name, linear in linears_of(block).items()}
    clips = search_clips(block, inputs, rounding)
    for name, largest in clips.items():
        apply_clip(linears_of(block)[name], largest)
    return BlockSearch(scales, clips, scaled)


@torch.no_grad()
def search_scale(
    block: nn.Module, group: ScaleGroup, inputs: BlockInputs, rounding: Rounding
) -> FoundScale:
    """The power of the mean activation by which rounding hurts the inspected module least."""
    linears = [linears_of(block)[name] for name in group.linears]
    given = inputs.linears[group.linears[0]]
    mean = given.abs().mean(0)
    run = _inspect(block, group, inputs)
    original = [linear.weight.data for linear in linears]
    expected = run()
    losses: list[float] = []
    best: tuple[float, torch.Tensor] | None = None
    for step in range(RATIOS):
        ratio = step / RATIOS
        scales = mean.pow(ratio).clamp(min=1e-4)
        scales = scales / (scales.max() * scales.min()).sqrt()
        for linear, weight in zip(linears, original, strict=True):
            linear.weight.data = rounding(weight * scales).div_(scales)
        loss = _mean_square(expected, run())
        if not losses or loss < min(losses):
            best = (ratio, scales)
        losses.append(loss)
    for linear, weight in zip(linears, original, strict=True):
        linear.weight.data = weight
    assert best is not None
    return FoundScale(group, best[1], best[0], tuple(losses), mean)


@torch.no_grad()
def apply_scale(block: nn.Module, found: FoundScale, inputs: BlockInputs | None = None) -> None:
    """Scale the linears up and what is before them down; the cached inputs as well."""
    scales, modules = found.scales, dict(block.named_modules())
    previous: Any = modules[found.group.previous]
    if isinstance(previous, nn.Linear):
        last = len(scales)
        previous.weight.data[-last:] = previous.weight.data[-last:] / scales[:, None]
        if previous.bias is not None:
            previous.bias.data = previous.bias.data / scales
    else:
        previous.weight.data = previous.weight.data / scales
    for name in found.group.linears:
        modules[name].weight.data = modules[name].weight.data * scales  # type: ignore[operator]
    if inputs is not None:
        divided = inputs.linears[found.group.linears[0]] / scales
        for name in found.group.linears:
            inputs.linears[name] = divided


def search_clips(
    block: nn.Module, inputs: BlockInputs, rounding: Rounding
) -> dict[str, torch.Tensor]:
    """The largest magnitude each row and group of each linear keeps."""
    return {
        name: search_clip(linear.weight.data, inputs.linears[name], rounding)
        for name, linear in linears_of(block).items()
        if not name.endswith(UNCLIPPED)
    }


@torch.no_grad()
def search_clip(weight: torch.Tensor, given: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """Clips [out, in / group, 1] of a weight [out, in] whose inputs are given [tokens, in]."""
    gram = gram_matrices(given, rounding.group)
    found = [
        _clip_rows(rows.view(len(rows), -1, rounding.group), gram, rounding)
        for rows in weight.split(ROWS_AT_ONCE)
    ]
    return torch.cat(found)


def gram_matrices(given: torch.Tensor, group: int) -> torch.Tensor:
    """X'X / tokens of every group of inputs [tokens, in], [in / group, group, group].

    The error of a clipped group is the mean over tokens of (x · (w' - w))². The reference sums it
    token by token; with these it is d' (X'X) d, the same number for a fraction of the work, and
    free of the cancellation between two long sums.
    """
    sampled = given[:: max(1, len(given) // CLIP_TOKENS)]
    tokens = sampled.view(len(sampled), -1, group).transpose(0, 1)
    return tokens.transpose(1, 2) @ tokens / len(sampled)


def clip_error(
    weight: torch.Tensor, bound: torch.Tensor, gram: torch.Tensor, rounding: Rounding
) -> torch.Tensor:
    """What clipping to `bound` and rounding costs, [rows, groups, 1]; weight [rows, groups, n]."""
    off = (rounding(torch.clamp(weight, -bound, bound)) - weight).transpose(0, 1)
    return ((off @ gram) * off).sum(dim=-1).transpose(0, 1)[:, :, None]


def _clip_rows(weight: torch.Tensor, gram: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """search_clip of some rows, [rows, groups, group] -> [rows, groups, 1]."""
    largest = weight.abs().amax(dim=-1, keepdim=True)
    best, least = largest.clone(), torch.full_like(largest, 1e9)
    for step in range(CLIP_STEPS):
        bound = largest * (1 - step / CLIP_GRID)
        error = clip_error(weight, bound, gram, rounding)
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better, bound, best)
    return best


@torch.no_grad()
def apply_clip(linear: nn.Linear, largest: torch.Tensor) -> None:
    """Clip a linear's weight to [-largest, largest] by row and group."""
    weight = linear.weight.data
    grouped = weight.reshape(*largest.shape[:2], -1)
    linear.weight.data = torch.clamp(grouped, -largest, largest).view_as(weight)


def _inspect(
    block: nn.Module, group: ScaleGroup, inputs: BlockInputs
) -> Callable[[], list[torch.Tensor]]:
    """Runs the inspected module on the cached inputs."""
    module = dict(block.named_modules())[group.inspected]
    if group.inspected != "self_attn":
        given = inputs.linears[group.linears[0]]
        return lambda: [module(rows) for rows in given.split(ROWS_INSPECTED)]
    return lambda: [
        _first(module(x, **context))
        for x, context in zip(inputs.attention, inputs.contexts, strict=True)
    ]


def _mean_square(expected: list[torch.Tensor], out: list[torch.Tensor]) -> float:
    total = sum(float((a - b).pow(2).sum()) for a, b in zip(expected, out, strict=True))
    return total / sum(a.numel() for a in expected)


class _Kept:
    """A hook that keeps a linear's inputs [tokens, in], in the order of the samples.

    One piece of memory from the start: many small ones, joined in the end, would need it twice.
    """

    def __init__(self, tokens: int, linear: nn.Linear) -> None:
        self.rows = linear.weight.new_empty(tokens, linear.in_features)
        self._filled = 0

    def __call__(self, _: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        given = arguments[0].reshape(-1, self.rows.shape[1])
        self.rows[self._filled : self._filled + len(given)] = given
        self._filled += len(given)


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output
