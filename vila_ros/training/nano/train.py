# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Trains vila-nano through its stages; goes on exactly where a run that was ended stood.

words: the language model alone, on text. align: the projector, to say in the language model's own
words what stands in each place of a picture. pretrain: both, on captions of pictures and clips.
finetune: both, on all questions, with text-only instructions blended in.
What a step reads depends on the stage's name and the step's number alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from vila_ros.errors import InvalidCheckpoint
from vila_ros.simulation.questions import CLIP_TASKS, TASKS, Questioner
from vila_ros.simulation.shapes import COLORS, KINDS
from vila_ros.simulation.wording import STEERING
from vila_ros.training.nano.cells import CellHeads
from vila_ros.training.nano.mixture import CLIP_LENGTHS, excerpt, sequence_of, text_sequence
from vila_ros.training.nano.network import Network, language_config
from vila_ros.training.nano.recipe import Recipe, StageRecipe
from vila_ros.training.nano.scene_heads import SceneHeads, joined, label_scene
from vila_ros.training.nano.sequences import Packed, Writer, batch_of
from vila_ros.training.nano.shards import SceneRecord, Shards
from vila_ros.training.nano.steering import SteeringFrames
from vila_ros.training.nano.text import text_only
from vila_ros.training.nano.tokens import PAD_ID, learn_tokenizer

Report = Callable[[str], None]
_STAGE_SEEDS = {"words": 1, "align": 2, "pretrain": 3, "finetune": 4}
_WARMUP, _DECAY, _CLIP_NORM = 0.04, 0.05, 1.0
_TOKENS = {"words": 220, "pretrain": 60, "finetune": 200}  # of text behind a sequence's pictures
_PROGRESS_EVERY = 50
_STEERING_SHARE = 0.2


class Trainer:
    """One run. folder: of the tokenizer and of the checkpoint. steering: real frames, if any."""

    def __init__(
        self,
        recipe: Recipe,
        shards: Shards,
        folder: Path,
        report: Report,
        steering: SteeringFrames | None = None,
    ) -> None:
        self._recipe = recipe
        self._steering = steering
        self._shards = shards
        self._folder = folder
        self._report = report
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = _tokenizer(shards, folder / "tokenizer.json")
        self._writer = Writer(self.tokenizer)
        torch.manual_seed(0)
        self.network = Network(language_config(self.tokenizer.get_vocab_size()))
        hidden = int(self.network.config["hidden_size"])
        self._heads = CellHeads(hidden, self._first_ids(KINDS), self._first_ids(COLORS))
        self._scene_heads = SceneHeads(hidden)
        self._modules: dict[str, nn.Module] = {
            "network": self.network,
            "heads": self._heads,
            "scene_heads": self._scene_heads,
        }
        self._stills = [record for record in shards.records if not record.is_clip]
        self._clips = [record for record in shards.records if record.is_clip]
        self._mean: dict[str, torch.Tensor] = {}
        self._in_mean = 0

    def run(self) -> None:
        """All stages that are not done yet."""
        done = self.load()
        for index, stage in enumerate(self._recipe.stages):
            if index >= done[0]:
                self._stage(index, stage, done[1] if index == done[0] else 0)

    def _stage(self, index: int, stage: StageRecipe, start: int) -> None:
        parameters = self._tuned(stage)
        optimizer = torch.optim.AdamW(_groups(parameters), stage.rate, betas=(0.9, 0.98))
        if start:
            optimizer.load_state_dict(_read(self._checkpoint)["optimizer"])
        began, seen = monotonic(), []
        for step in range(start, stage.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage, step)
            chance = np.random.default_rng([_STAGE_SEEDS[stage.name], step])
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss, right = self._loss(stage, chance)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if index + 1 == len(self._recipe.stages) and step >= stage.steps // 2:
                self._add_to_mean(step)
            seen.append((float(loss.detach()), float(right)))
            if (step + 1) % _PROGRESS_EVERY == 0 or step + 1 == stage.steps:
                mean_loss, mean_right = np.mean(seen[-_PROGRESS_EVERY:], axis=0)
                self._report(
                    f"{stage.name:8} {step + 1:5} of {stage.steps}: loss {mean_loss:.3f}, right "
                    f"{100 * mean_right:.1f} %, {len(seen) / (monotonic() - began):.2f} steps/s"
                )
            if (step + 1) % self._recipe.save_every == 0:
                self._save(index, step + 1, optimizer)
        if self._in_mean:
            self._load_weights({name: each.float() for name, each in self._mean.items()})
            self._mean, self._in_mean = {}, 0
        self._save(index + 1, 0, optimizer)

    def _add_to_mean(self, step: int) -> None:
        if step % self._recipe.mean_every:
            return
        self._in_mean += 1
        for name, weight in self._weights().items():
            mean = self._mean.setdefault(name, torch.zeros_like(weight, dtype=torch.float64))
            mean += (weight.double() - mean) / self._in_mean

    def _weights(self) -> dict[str, torch.Tensor]:
        """All that is learnt."""
        return {
            f"{part}.{name}": weight.detach()
            for part, module in self._modules.items()
            for name, weight in module.state_dict().items()
        }

    def _load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        for part, module in self._modules.items():
            module.load_state_dict(
                {
                    name.removeprefix(f"{part}."): weight
                    for name, weight in weights.items()
                    if name.startswith(f"{part}.")
                }
            )

    def _tuned(self, stage: StageRecipe) -> list[nn.Parameter]:
        """The parameters that a stage changes."""
        if stage.name == "words":
            return list(self.network.language.parameters())
        pictures = [*self.network.projector.parameters(), *self._heads.parameters()]
        if stage.name == "align":
            return pictures
        scenes = self._scene_heads.parameters()
        return [*self.network.language.parameters(), *pictures, *scenes]

    def _loss(
        self, stage: StageRecipe, chance: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of a step, and the share of what was right."""
        if stage.name == "words":
            texts = [
                text_sequence(self._writer, chance, _TOKENS["words"]) for _ in range(stage.batch)
            ]
            loss, right, _ = self.network(batch_of(texts, PAD_ID), torch.zeros(0))
            return loss, right
        words = self.network.language.model.embed_tokens.weight
        if stage.name == "align":
            count = min(stage.batch, self._shards.pictures)
            numbers = np.sort(chance.choice(self._shards.pictures, count, replace=False))
            projected = self.network.projector(self._shards.features(numbers))
            return self._heads(projected, words, self._shards.labels(numbers))  # type: ignore[no-any-return]
        if stage.name == "finetune" and chance.random() < _STEERING_SHARE and self._steering:
            return self._steering_loss(self._steering, 2 * stage.batch, chance)
        records = self._records(stage, chance)
        batch = batch_of(list(self._sequences(stage, records, chance)), PAD_ID)
        projected = self.network.projector(self._shards.features(batch.pictures))
        loss, right, rows = self.network(batch, projected)
        labels = self._shards.labels(batch.pictures)
        cells, _ = self._heads(projected, words, labels)
        ends = np.cumsum([len(record.pictures) for record in records])[:-1]
        owners, ranks = np.split(labels.owners, ends), np.split(labels.ranks, ends)
        scenes = joined(
            [label_scene(r.frames, o, n) for r, o, n in zip(records, owners, ranks, strict=True)]
        )
        loss = loss + self._recipe.cell_weight * cells
        return loss + self._recipe.scene_weight * self._scene_heads(*rows, scenes), right

    def _steering_loss(
        self, frames: SteeringFrames, count: int, chance: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = chance.integers(len(frames.answers), size=count)
        sequences = [
            Packed(
                self._writer.beginning([place], [0.0], chance),
                (
                    self._writer.branch(
                        STEERING[chance.integers(len(STEERING))], frames.answers[number]
                    ),
                ),
            )
            for place, number in enumerate(numbers)
        ]
        projected = self.network.projector(torch.from_numpy(frames.features[numbers]).float())
        loss, right, _ = self.network(batch_of(sequences, PAD_ID), projected)
        return loss, right

    def _records(self, stage: StageRecipe, chance: np.random.Generator) -> list[SceneRecord]:
        """The scenes that a step of the last two stages reads."""
        if not self._clips or chance.random() >= self._recipe.clip_share:
            numbers = chance.integers(len(self._stills), size=stage.batch)
            return [self._stills[number] for number in numbers]
        lengths, shares = zip(*CLIP_LENGTHS.items(), strict=True)
        length = int(chance.choice(lengths, p=shares))
        pool = [clip for clip in self._clips if len(clip.frames) >= length] or self._clips
        numbers = chance.integers(len(pool), size=max(2, 2 * stage.batch // max(3, length)))
        return [excerpt(pool[number], length, chance) for number in numbers]

    def _sequences(
        self, stage: StageRecipe, records: list[SceneRecord], chance: np.random.Generator
    ) -> Iterator[Packed]:
        """The scenes with their questions, and text-only instructions."""
        captions = stage.name == "pretrain"
        for record in records:
            yield sequence_of(record, self._writer, chance, captions, _TOKENS[stage.name])
        if chance.random() < 0.25:
            yield text_sequence(self._writer, chance, _TOKENS["finetune"])
            yield text_sequence(self._writer, chance, _TOKENS["finetune"])

    def _first_ids(self, words: tuple[str, ...]) -> list[int]:
        return [
            self.tokenizer.encode(f" {word}", add_special_tokens=False).ids[0] for word in words
        ]

    # Checkpoints

    @property
    def _checkpoint(self) -> Path:
        return self._folder / "checkpoint.pt"

    def _save(self, stage: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        part = self._checkpoint.with_suffix(".part")
        torch.save(
            {
                "stage": stage,
                "step": step,
                "network": self.network.state_dict(),
                "heads": self._heads.state_dict(),
                "scene_heads": self._scene_heads.state_dict(),
                "mean": self._mean,
                "in_mean": self._in_mean,
                "optimizer": optimizer.state_dict() if step else {},
            },
            part,
        )
        part.rename(self._checkpoint)

    def load(self) -> tuple[int, int]:
        """Take up the checkpoint, if there is one; the stage and the step to go on with.

        Raises InvalidCheckpoint if it is broken, or one of another network.
        """
        if not self._checkpoint.is_file():
            return 0, 0
        state = _read(self._checkpoint)
        try:
            self.network.load_state_dict(state["network"])
            self._heads.load_state_dict(state["heads"])
            self._scene_heads.load_state_dict(state["scene_heads"])
            self._mean, self._in_mean = state["mean"], int(state["in_mean"])
            return int(state["stage"]), int(state["step"])
        except (KeyError, RuntimeError) as error:
            raise _not_taken_up(self._checkpoint, error) from error


def learning_rate(stage: StageRecipe, step: int) -> float:
    """Of a step: rises linearly, then falls along a cosine to a fiftieth."""
    rise = min(1.0, (step + 1) / (_WARMUP * stage.steps + 1))
    return stage.rate * rise * (0.51 + 0.49 * math.cos(math.pi * step / stage.steps))


def _groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    """Matrices decay, norms and biases do not."""
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": _DECAY},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(torch.load(path, weights_only=True))
    except (
        Exception
    ) as error:  # a broken file ends in any of pickle's, zipfile's and torch's errors
        raise _not_taken_up(path, error) from error


def _not_taken_up(path: Path, error: Exception) -> InvalidCheckpoint:
    return InvalidCheckpoint(f"{path} cannot be taken up: {error}; remove it to start anew")


def _tokenizer(shards: Shards, path: Path) -> Tokenizer:
    """The folder's tokenizer, learnt on first use. Raises InvalidCheckpoint if it is broken."""
    if not path.is_file():
        part = path.with_suffix(".part")
        learn_tokenizer(_texts(shards)).save(str(part))
        part.rename(path)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower kind
        raise _not_taken_up(path, error) from error


def _texts(shards: Shards) -> Iterator[str]:
    chance = np.random.default_rng(0)
    for record in shards.records[::5][:4000]:
        asker = Questioner(record.frames, chance)
        for task in (*TASKS, *CLIP_TASKS) if record.is_clip else TASKS:
            asked = asker.ask(task)
            if asked is not None:
                yield asked.question
                yield asked.answer
    for _ in range(3000):
        yield from text_only(chance)
