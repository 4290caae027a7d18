# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The model card: what a model was trained on, for how long, and how it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vila_ros import __version__
from vila_ros.training.journal import duration
from vila_ros.training.lora import Lora
from vila_ros.training.run_folder import Progress
from vila_ros.training.scoring import Scores
from vila_ros.training.stages import Stage


@dataclass(frozen=True)
class DataNote:
    """A dataset of a stage. samples: used; factor: how often each; left_out: found unfit."""

    name: str
    samples: int
    factor: float
    left_out: int


@dataclass(frozen=True)
class StageNote:
    """What a stage did. before, after: scores on held-out samples, None where there were none."""

    stage: Stage
    data: tuple[DataNote, ...]
    progress: Progress
    before: Scores | None
    after: Scores | None
    lora: Lora | None = None


def model_card(
    name: str, base: str, stages: Sequence[StageNote], machine: Mapping[str, str], adapter: bool
) -> str:
    """README.md of a trained model, in Markdown."""
    lines = [
        f"# {name}",
        "",
        f"Trained from `{base}` by vila_ros {__version__}, `vila finetune`. The folder is a whole "
        "VILA checkpoint.",
    ]
    if adapter:
        lines.append(
            "The LoRA adapter is merged into the language model's weights; the last stage's also "
            "stands alone in `llm_adapter/`, in peft's format."
        )
    lines += ["", "## Data", "", "| stage | dataset | samples | read | left out as unfit |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {note.stage.name} | {data.name} | {data.samples} | {data.factor:g} times | "
        f"{data.left_out} |"
        for note in stages
        for data in note.data
    ]
    lines += ["", "## Training", ""]
    lines.append(
        "| stage | learnt | learning rate | samples a step | steps | samples seen | time | "
        "loss, first to last step |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [_stage_line(note) for note in stages]
    lines += ["", *(f"- {key}: {value}" for key, value in machine.items())]
    lines += ["", "## Scores on samples held out of the training", ""]
    scored = [note for note in stages if note.after is not None]
    if not scored:
        lines.append("None: no samples were held out.")
        return "\n".join(lines) + "\n"
    lines.append("| stage | | loss | tokens right | answers right word by word | samples |")
    lines.append("|---|---|---|---|---|---|")
    for note in scored:
        for when, scores in (("before", note.before), ("after", note.after)):
            if scores is not None:
                lines.append(
                    f"| {note.stage.name} | {when} | {scores.loss:.4f} | "
                    f"{100 * scores.tokens:.1f} % | {100 * scores.answers:.1f} % | "
                    f"{scores.samples} |"
                )
    lines += [
        "",
        "Held out is the last part of every file, not a draw: neighbours in a recording look "
        "alike.",
    ]
    return "\n".join(lines) + "\n"


def _stage_line(note: StageNote) -> str:
    stage, progress = note.stage, note.progress
    parts = ", ".join(part.replace("_", " ") for part in sorted(stage.tuned))
    if note.lora is not None:
        parts = parts.replace("language model", f"language model by LoRA of rank {note.lora.rank}")
    return (
        f"| {stage.name} | {parts} | {stage.learning_rate:g}, {stage.schedule} | {stage.batch} | "
        f"{progress.step} | {progress.samples} | {duration(progress.seconds)} | "
        f"{progress.first_loss:.3f} to {progress.loss:.3f} |"
    )
