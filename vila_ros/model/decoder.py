# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Forwards of the language model over the slots of a cache: prefill, choices, decode steps.

On the CPU a decode step runs as written. On a GPU it is captured in CUDA graphs, one for each
number of rows (a power of two) and bound of positions (BLOCK times a power of two), so that a step
is one launch; and since the step also feeds its own most probable tokens back, the next one can be
launched before the host has looked at them (`follow`). What is captured is a step of fused_decoder,
or of transformers' modules, compiled or as written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from vila_ros.model.kv_cache import ATTENTION, BLOCK, Decode, Prefill, SlotCache, StaticDecode

Rows = tuple[tuple[int, int], ...]
"""Pairs of (slot, position): where each row of a decode step is written."""

WARM_UPS = 2  # runs before a capture, in which libraries pick their kernels and workspaces


@dataclass(frozen=True, eq=False)
class DecodeStep:
    """A decode step that has been launched. tokens: on the host once `wait` returns."""

    rows: Rows
    logits: torch.Tensor
    tokens: torch.Tensor
    best: torch.Tensor
    ready: torch.cuda.Event | None = None

    def wait(self) -> tuple[list[int], torch.Tensor]:
        """The most probable token of each row, and their logits [rows] on the CPU."""
        if self.ready is not None:
            self.ready.synchronize()
        return self.tokens.tolist(), self.best


def most_probable(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy tokens [rows] of logits [rows, vocab], the lowest id of equals, and their logits."""
    tokens = logits.argmax(dim=-1)
    return tokens, logits.gather(1, tokens[:, None])[:, 0]


class Decoder:
    """Runs one language model over one cache; used by one thread, under inference_mode.

    The model's attention is switched to that over slots until close().
    """

    def __init__(self, language_model: PreTrainedModel, cache: SlotCache) -> None:
        self.cache = cache
        self._language_model = language_model
        self._embed = language_model.get_input_embeddings()
        self._attention = language_model.config._attn_implementation
        language_model.set_attn_implementation(ATTENTION)

    def close(self) -> None:
        """Give the model back the attention that it came with."""
        self._language_model.set_attn_implementation(self._attention)

    def prefill(
        self, slot: int, start: int, embeddings: torch.Tensor, *, last: bool
    ) -> torch.Tensor | None:
        """Store rows [start, start + n) of a sequence, embeddings [n, hidden].

        Returns the float32 logits [vocab] after the last row if `last`, else None.
        """
        length = len(embeddings)
        self.cache.reserve(start + length)
        positions = torch.arange(start, start + length, device=embeddings.device)
        hidden = self._forward(embeddings[None], positions[None], Prefill(slot, start, length))
        return self._logits(hidden[0, -1:])[0] if last else None

    def branch(self, slot: int, start: int, branches: list[tuple[int, ...]]) -> list[torch.Tensor]:
        """Logits of several continuations of one sequence, in one forward.

        The branches are laid side by side behind row `start`, and each token sees the sequence and
        its own branch alone (tree attention, as in SpecInfer, arXiv:2305.09781). Returns for each
        branch float32 [len(branch), vocab]: what follows each of its tokens. The rows behind
        `start` are scratch afterwards.
        """
        device = self.cache.device
        tokens = [token for branch in branches for token in branch]
        owner = torch.tensor(
            [i for i, branch in enumerate(branches) for _ in branch], device=device
        )
        depth = torch.tensor([d for branch in branches for d in range(len(branch))], device=device)
        own = (owner[:, None] == owner[None]) & (depth[None] <= depth[:, None])
        prefix = torch.ones(len(tokens), start, dtype=torch.bool, device=device)
        plan = Prefill(slot, start, len(tokens), torch.cat([prefix, own], dim=1))
        self.cache.reserve(plan.seen)
        embeddings = self._embed(torch.tensor(tokens, device=device))
        hidden = self._forward(embeddings[None], (start + depth)[None], plan)
        return list(self._logits(hidden[0]).split([len(branch) for branch in branches]))

    def decode(self, rows: Rows, tokens: list[int]) -> DecodeStep:
        """Store one new token a row; logits [rows, vocab] say what follows."""
        self.cache.reserve(max(position for _, position in rows) + 1)
        plan = Decode.of(rows, self.cache.device)
        embeddings = self._embed(torch.tensor(tokens, device=self.cache.device))
        hidden = self._forward(embeddings[:, None], plan.positions[:, None], plan)
        logits = self._logits(hidden[:, -1])
        picked, best = most_probable(logits)
        return DecodeStep(rows, logits, picked.cpu(), best.cpu())

    def follow(self, step: DecodeStep) -> DecodeStep | None:
        """Launch the step after `step` on its most probable tokens without waiting for them; None
        where that gains nothing."""
        return None

    def _forward(
        self, embeddings: torch.Tensor, positions: torch.Tensor, plan: Prefill | Decode
    ) -> torch.Tensor:
        self.cache.set_plan(plan)
        return self._language_model.model(
            inputs_embeds=embeddings,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            plan=plan,
        ).last_hidden_state

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self._language_model.lm_head(hidden).float()


def compile_step(function: Callable) -> Callable:
    """torch.compile for a StaticDecoder's step.

    With dynamic shapes a few compilations serve every bound, slot and number of rows; warm_up
    meets all of them, so that none happens while somebody waits.
    """
    return torch.compile(function, fullgraph=True, dynamic=True)


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a static step reads and, at its end, moves on by itself; int64 [rows], on the device."""

    tokens: torch.Tensor
    slots: torch.Tensor
    positions: torch.Tensor


@dataclass(frozen=True, eq=False)
class StaticStep:
    """A step of fixed shapes: run() reads inputs and fills logits, tokens and best."""

    inputs: Inputs
    seen: int
    run: Callable[[], None]
    logits: torch.Tensor
    tokens: torch.Tensor
    best: torch.Tensor


class StaticDecoder(Decoder):
    """A Decoder whose decode steps have static shapes.

    compiler: wraps the step's function, e.g. torch.compile; None runs it as written. On a GPU each
    step is captured in a CUDA graph; elsewhere the same function is called, which is how its
    arithmetic is tested without a GPU.
    """

    in_place = True
    """Whether a single row's step is built for its slot, whose keys it then reads in place."""

    def __init__(
        self,
        language_model: PreTrainedModel,
        cache: SlotCache,
        *,
        compiler: Callable[[Callable], Callable] | None = None,
    ) -> None:
        super().__init__(language_model, cache)
        cache.reserve(cache.context_length)
        self._function = compiler(self._compute) if compiler else self._compute
        self._graphed = cache.device.type == "cuda"
        self._pool = torch.cuda.graph_pool_handle() if self._graphed else None
        # One for all captures: cuBLAS keeps a workspace of 8 to 32 MiB for every stream it meets.
        self._side = torch.cuda.Stream() if self._graphed else None
        self._steps: dict[tuple[int, int, int | None], StaticStep] = {}
        self._last: tuple[DecodeStep, StaticStep] | None = None

    def warm_up(self) -> None:
        """Build the steps of every number of rows and every bound, so that none is built while
        somebody waits. The cache must be unused."""
        rows = 1
        while rows < 2 * self.cache.slots:
            batch = min(rows, self.cache.slots)
            for seen in self._bounds():
                for first in range(self.cache.slots if batch == 1 and self.in_place else 1):
                    slots = range(first, first + batch)
                    self.decode(tuple((slot, seen - 1) for slot in slots), [0] * batch)
            rows *= 2

    def _bounds(self) -> Iterator[int]:
        """The numbers of positions that steps are built for, ascending."""
        seen = BLOCK
        while seen < self.cache.context_length:
            yield seen
            seen *= 2
        yield self.cache.context_length

    def decode(self, rows: Rows, tokens: list[int]) -> DecodeStep:
        """As Decoder.decode; rows are filled up to a power of two by repeating the first, which
        writes the same values to the same place."""
        padding = (1 << (len(rows) - 1).bit_length()) - len(rows)
        slots, positions = zip(*rows, *[rows[0]] * padding, strict=True)
        seen = next(bound for bound in self._bounds() if bound > max(positions))
        alone = len(slots) == 1 and self.in_place
        key = (len(slots), seen, slots[0] if alone else None)
        values = (tokens + tokens[:1] * padding, slots, positions)
        if key not in self._steps:
            self._steps[key] = self._build(key, values)
        step = self._steps[key]
        for target, source in zip(
            (step.inputs.tokens, step.inputs.slots, step.inputs.positions), values, strict=True
        ):
            target.copy_(torch.tensor(source))
        return self._launch(step, rows)

    def follow(self, step: DecodeStep) -> DecodeStep | None:
        """See Decoder.follow; None where `step` is not the last launched or the positions reach
        the step's bound."""
        if self._last is None or self._last[0] is not step:
            return None
        static = self._last[1]
        rows = tuple((slot, position + 1) for slot, position in step.rows)
        if max(position for _, position in rows) >= static.seen:
            return None
        return self._launch(static, rows)

    def _launch(self, step: StaticStep, rows: Rows) -> DecodeStep:
        step.run()
        count = len(rows)
        if self._graphed:
            # The copies are queued before any later step can overwrite what they read.
            tokens = torch.empty(count, dtype=torch.int64, pin_memory=True)
            best = torch.empty(count, dtype=torch.float32, pin_memory=True)
            tokens.copy_(step.tokens[:count], non_blocking=True)
            best.copy_(step.best[:count], non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
            launched = DecodeStep(rows, step.logits[:count], tokens, best, ready)
        else:
            launched = DecodeStep(
                rows, step.logits[:count], step.tokens[:count].clone(), step.best[:count].clone()
            )
        self._last = (launched, step)
        return launched

    def _build(
        self,
        key: tuple[int, int, int | None],
        values: tuple[list[int], tuple[int, ...], tuple[int, ...]],
    ) -> StaticStep:
        _, seen, slot = key
        # The compiler takes 0 and 1 for constants; see _compute.
        slot = None if slot is None else slot + 2
        inputs = Inputs(*(torch.tensor(value, device=self.cache.device) for value in values))
        if not self._graphed:
            logits, tokens, best = self._function(inputs, seen, slot)

            def run() -> None:
                for kept, new in zip(
                    (logits, tokens, best), self._function(inputs, seen, slot), strict=True
                ):
                    kept.copy_(new)
                inputs.tokens.copy_(tokens)
                inputs.positions.add_(1)

            return StaticStep(inputs, seen, run, logits, tokens, best)

        side = self._side
        assert side is not None
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._function(inputs, seen, slot)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=side):
            logits, tokens, best = self._function(inputs, seen, slot)
            inputs.tokens.copy_(tokens)
            inputs.positions.add_(1)
        return StaticStep(inputs, seen, graph.replay, logits, tokens, best)

    def _compute(
        self, inputs: Inputs, seen: int, slot: int | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of all rows; slot: 2 more than that of a single row, None for several."""
        slot = None if slot is None else slot - 2
        plan = StaticDecode(inputs.slots, inputs.positions, seen, slot)
        self.cache.set_plan(plan)
        hidden = self._language_model.model(
            input_ids=inputs.tokens[:, None],
            position_ids=inputs.positions[:, None],
            past_key_values=self.cache,
            use_cache=True,
            plan=plan,
        ).last_hidden_state
        logits = self._logits(hidden[:, -1])
        return (logits, *most_probable(logits))
