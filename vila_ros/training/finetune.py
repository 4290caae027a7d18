# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Stage after stage from a base model to a new checkpoint folder."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vila_ros.datasets.reading.mixture import Mixture
from vila_ros.errors import InvalidRequest
from vila_ros.model.checkpoint import load_vila, locate
from vila_ros.model.vila import Vila
from vila_ros.quantization.out_folder import check_free
from vila_ros.training.card import StageNote, model_card
from vila_ros.training.data import MixtureData
from vila_ros.training.journal import Journal, duration
from vila_ros.training.loop import Interruption, LoopSettings, train_stage
from vila_ros.training.lora import (
    Lora,
    add_adapters,
    freeze_all_but_adapters,
    merge_adapters,
    write_adapter,
)
from vila_ros.training.media import MediaReader
from vila_ros.training.model import VilaForTraining, check_trainable
from vila_ros.training.parts import Parts, assemble
from vila_ros.training.processes import Processes
from vila_ros.training.run_folder import RunFolder, write_text
from vila_ros.training.scoring import Scores, score
from vila_ros.training.stage_data import DataRequest, open_stage, prepare_data, stage_encoder
from vila_ros.training.stages import Stage
from vila_ros.training.writing import whole_folder, write_checkpoint


@dataclass(frozen=True)
class FineTune:
    """What to train. base: a checkpoint folder, a hub id, or the parts of a new model.

    stages: in order. lora: adapters instead of the language model's own matrices. precision: of
    matrix products; what is learnt is kept in float32. gradient_checkpointing, shard, device: see
    VilaForTraining and Processes. log_every: steps between two lines.
    """

    base: str | Parts
    out: Path
    stages: tuple[Stage, ...]
    data: DataRequest
    lora: Lora | None = None
    loop: LoopSettings = field(default_factory=LoopSettings)
    precision: str = "float32"
    gradient_checkpointing: bool = False
    shard: bool = False
    device: str = "cpu"
    conversation: str | None = None
    log_every: int = 10

    def settings(self) -> dict[str, Any]:
        """What decides the result, as JSON values."""
        stages = [{**asdict(stage), "tuned": sorted(stage.tuned)} for stage in self.stages]
        return {
            "base": _plain(asdict(self.base)) if isinstance(self.base, Parts) else self.base,
            "stages": stages,
            "data": self.data.sizes(self.stages),
            "filters": [repr(quality) for quality in self.data.filters],
            "held_out": self.data.held_out,
            "lora": None if self.lora is None else asdict(self.lora),
            "seed": self.loop.seed,
            "pack": self.loop.packing.pack,
            "max_steps": self.loop.max_steps,
            "precision": self.precision,
            "conversation": self.conversation,
        }


def finetune(
    request: FineTune, say: Callable[[str], None], interruption: Interruption | None = None
) -> Path:
    """Run all stages, or go on with a run that was stopped; returns the new folder.

    Every process of a run calls it; the first one writes and speaks. Raises VilaError.
    """
    processes = Processes(request.device, request.shard, request.precision)
    folder = RunFolder(request.out, request.settings())
    try:
        if processes.first:
            check_free(request.out)
            if folder.open():
                say(f"going on with the run in {folder.path}")
        processes.wait()
        _prepare(request, folder, processes, say)
        notes = [
            _run_stage(request, number, folder, processes, say, interruption)
            for number in range(len(request.stages))
        ]
        if processes.first:
            _finish(request, folder, notes, processes)
        processes.wait()
    finally:
        processes.close()
    return request.out


def base_folder(request: FineTune, folder: RunFolder) -> Path:
    """Where the model to begin with stands."""
    if isinstance(request.base, Parts):
        return folder.path / "base"
    return locate(request.base)


def _prepare(
    request: FineTune, folder: RunFolder, processes: Processes, say: Callable[[str], None]
) -> None:
    """The base and the data, by the first process alone."""
    if processes.first:
        if isinstance(request.base, Parts) and not base_folder(request, folder).is_dir():
            assemble(request.base, base_folder(request, folder), request.loop.seed)
        vila = load_vila(base_folder(request, folder), conversation=request.conversation)
        for stage in request.stages:
            check_trainable(vila, stage.tuned)
            if request.lora is not None and "language_model" not in stage.tuned:
                say(f"{stage.name}: the language model is frozen, LoRA is not used")
        threads = request.loop.threads
        prepare_data(vila, request.stages, request.data, folder, say, threads)
    processes.wait()


def _run_stage(
    request: FineTune,
    number: int,
    folder: RunFolder,
    processes: Processes,
    say: Callable[[str], None],
    interruption: Interruption | None,
) -> StageNote:
    """Train a stage unless it is complete, and score it before and after."""
    stage = request.stages[number]
    lora = request.lora if "language_model" in stage.tuned else None
    training, scoring, data_notes = open_stage(stage, request.data, folder)
    made = folder.stage_model(stage.name)

    def scored(when: str, vila: Vila) -> None:
        if processes.first:
            _score(request, stage, when, vila, scoring, folder, processes, say)
        processes.wait()

    if not made.is_dir():
        source = _source(request, number, folder)
        vila = _load(request, source, stage, lora)
        scored("before", vila)
        journal = Journal(say, request.log_every, folder.logs)
        learnt = _train(
            request, stage, lora, vila, training, folder, processes, journal, interruption
        )
        if processes.first:
            _write_stage(request, source, learnt, lora, made)
            folder.slim(stage.name)
        processes.wait()
    scored("after", load_vila(made, dtype=request.precision, conversation=request.conversation))
    return _note(stage, folder, data_notes, lora)


def _train(
    request: FineTune,
    stage: Stage,
    lora: Lora | None,
    vila: Vila,
    training: Mixture,
    folder: RunFolder,
    processes: Processes,
    journal: Journal,
    interruption: Interruption | None,
) -> dict[str, torch.Tensor]:
    """What a stage learns, by the names of VilaForTraining."""
    model = VilaForTraining(
        vila,
        stage.tuned,
        gradient_checkpointing=request.gradient_checkpointing,
        uniform=processes.world > 1,
    )
    if lora is not None:
        add_adapters(vila.language_model, lora, request.loop.seed)
        freeze_all_but_adapters(vila.language_model)
        model.train()
    data = MixtureData(training, stage_encoder(vila, stage), request.loop.seed)
    _, learnt = train_stage(
        model,
        data,
        MediaReader(vila.image_processor),
        stage,
        request.loop,
        processes,
        journal,
        folder,
        interruption,
    )
    return learnt


def _score(
    request: FineTune,
    stage: Stage,
    when: str,
    vila: Vila,
    scoring: Mixture,
    folder: RunFolder,
    processes: Processes,
    say: Callable[[str], None],
) -> None:
    """Score a model on what is held out, once in a run, and keep the scores."""
    held_out = MixtureData(scoring, stage_encoder(vila, stage), request.loop.seed)
    if len(held_out) == 0 or folder.recall(f"{stage.name}-{when}") is not None:
        return
    model = VilaForTraining(vila, ["projector"]).to(processes.device)
    read = MediaReader(vila.image_processor)
    found = score(model, held_out, read, processes.device, processes.precision)
    folder.remember(f"{stage.name}-{when}", asdict(found))
    say(
        f"{stage.name}: {when}: loss {found.loss:.4f}, {100 * found.tokens:.1f} % of tokens and "
        f"{100 * found.answers:.1f} % of answers right on {found.samples} held-out samples"
    )


def _write_stage(
    request: FineTune,
    source: Path,
    learnt: dict[str, torch.Tensor],
    lora: Lora | None,
    made: Path,
) -> None:
    """A stage's checkpoint. The model in memory is wrapped, sharded or full of adapters; the files
    it came from are read again."""
    vila = load_vila(source, conversation=request.conversation)
    with whole_folder(made) as part:
        if lora is not None:
            base, seed = str(request.base), request.loop.seed
            learnt = _merged(vila, learnt, lora, part, base, seed)
        write_checkpoint(vila, learnt, part)


def _source(request: FineTune, number: int, folder: RunFolder) -> Path:
    """The model that a stage begins with."""
    if number == 0:
        return base_folder(request, folder)
    return folder.stage_model(request.stages[number - 1].name)


def _load(request: FineTune, source: Path, stage: Stage, lora: Lora | None) -> Vila:
    """A model whose learning parts are float32; frozen ones need no more than is computed with."""
    # Sharded layers must be of one type.
    dtype = "float32" if request.shard else request.precision
    vila = load_vila(source, dtype=dtype, conversation=request.conversation)
    parts = {
        "vision_tower": vila.vision_tower,
        "projector": vila.projector,
        "language_model": vila.language_model,
    }
    for name, module in parts.items():
        if name in stage.tuned and not (name == "language_model" and lora is not None):
            module.float()
            # Loaded weights are views of files that are mapped; what learns needs memory.
            for parameter in module.parameters():
                parameter.data = parameter.data.clone()
    return vila


def _merged(
    vila: Vila,
    learnt: Mapping[str, torch.Tensor],
    lora: Lora,
    folder: Path,
    base: str,
    seed: int,
) -> dict[str, torch.Tensor]:
    """What was learnt, with adapters added to the matrices beside them."""
    prefix = "language_model."
    vila.language_model.float()
    add_adapters(vila.language_model, lora, seed)
    adapters = {k.removeprefix(prefix): v for k, v in learnt.items() if ".lora_" in k}
    found = vila.language_model.load_state_dict(adapters, strict=False)
    if found.unexpected_keys:
        raise InvalidRequest(f"{found.unexpected_keys[0]} is no adapter of this model")
    write_adapter(vila.language_model, lora, folder / "llm_adapter", base)
    merge_adapters(vila.language_model)
    weights = vila.language_model.state_dict()
    changed = {name.split(".lora_")[0] + ".weight" for name in adapters}
    return {
        **{name: value for name, value in learnt.items() if ".lora_" not in name},
        **{prefix + name: weights[name] for name in sorted(changed)},
    }


def _note(stage: Stage, folder: RunFolder, data: Any, lora: Lora | None) -> StageNote:
    progress = folder.progress(stage.name)
    assert progress is not None
    before, after = (folder.recall(f"{stage.name}-{name}") for name in ("before", "after"))
    return StageNote(
        stage,
        data,
        progress,
        None if before is None else Scores(**before),
        None if after is None else Scores(**after),
        lora,
    )


def _finish(
    request: FineTune, folder: RunFolder, notes: list[StageNote], processes: Processes
) -> None:
    """The last stage's model with its card becomes the result."""
    last = folder.stage_model(request.stages[-1].name)
    base = request.base
    named = f"{base.vision.name} and {base.language.name}" if isinstance(base, Parts) else base
    total = sum(note.progress.seconds for note in notes)
    machine = {
        "time": f"{duration(total)} of training steps, on {processes.world} × {_device(processes)}",
        "precision": f"{request.precision}; learnt weights and optimizer in float32",
        "seed": str(request.loop.seed),
        "packing": "several samples a sequence" if request.loop.packing.pack else "none",
        "torch": torch.__version__,
    }
    card = model_card(request.out.name, named, notes, machine, request.lora is not None)
    write_text(last / "README.md", card)
    if folder.logs.is_dir():
        shutil.copytree(folder.logs, last / "logs", dirs_exist_ok=True)
    check_free(request.out)
    os.replace(last, request.out)
    folder.remove()


def _device(processes: Processes) -> str:
    if processes.device.type == "cuda":
        return torch.cuda.get_device_name(processes.device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(v) if isinstance(v, Path) else v for key, v in values.items()}
