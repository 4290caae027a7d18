# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila finetune`: train a model on a robot's own recordings, by stages."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vila_ros.errors import InvalidRequest

if TYPE_CHECKING:
    from vila_ros.datasets.reading.quality import QualityFilter
    from vila_ros.training.finetune import FineTune
    from vila_ros.training.loop import Interruption
    from vila_ros.training.stage_data import DataRequest
    from vila_ros.training.stages import Stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    base = parser.add_argument_group("what to begin with")
    base.add_argument("--base", metavar="DIR", help="checkpoint folder, or a hub id owner/name")
    base.add_argument("--vision", type=Path, metavar="DIR", help="instead: a vision tower …")
    base.add_argument("--llm", type=Path, metavar="DIR", help="… and a language model")
    base.add_argument("--projector", default="mlp_downsample_2x2_fix", help="kind of a new one")
    base.add_argument("--select-layer", type=int, default=-2, help="of --vision (default -2)")
    base.add_argument("--conversation", metavar="NAME", help="conversation template")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the new checkpoint folder")
    _add_data_arguments(parser.add_argument_group("data"))
    _add_recipe_arguments(parser.add_argument_group("recipe"))
    _add_machine_arguments(parser.add_argument_group("machine"))


def _add_data_arguments(data: Any) -> None:
    data.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="[STAGE=]MIXTURE",
        help="files or registered names: a.json+captions*2; repeat for stages with other data",
    )
    data.add_argument("--registry", type=Path, metavar="YAML", help="names of datasets")
    data.add_argument(
        "--media", type=Path, metavar="DIR", help="media folder (default: the file's)"
    )
    data.add_argument("--frames", type=int, default=8, help="of each clip (default 8)")
    data.add_argument("--held-out", type=float, default=0.0, metavar="PART", help="to score on")
    data.add_argument("--min-characters", type=int, default=0, help="of text to learn in a sample")
    data.add_argument("--filter", action="append", default=[], metavar="MODULE:FUNCTION")
    data.add_argument("--on-error", choices=("refuse", "skip"), default="refuse")
    data.add_argument("--check", action="store_true", help="look through the data, train nothing")
    data.add_argument("--no-check", action="store_true", help="train at once, at your own risk")


def _add_recipe_arguments(recipe: Any) -> None:
    recipe.add_argument(
        "--stages",
        nargs="+",
        default=["finetune"],
        metavar="STAGE",
        help="align, pretrain, sft, …; vila1.5 and nvila are whole recipes (default finetune)",
    )
    recipe.add_argument(
        "--tune", nargs="+", metavar="PART", help="vision_tower, projector, language_model"
    )
    recipe.add_argument("--learning-rate", type=float, help="instead of the stages' own")
    recipe.add_argument("--batch", type=int, help="samples a step, over all processes")
    recipe.add_argument("--epochs", type=float, help="passes over the data")
    recipe.add_argument("--length", type=int, help="most rows of a sequence, media included")
    recipe.add_argument("--max-steps", type=int, default=0, help="end each stage after so many")
    recipe.add_argument("--lora", type=int, metavar="RANK", help="train adapters of that rank")
    recipe.add_argument("--lora-alpha", type=int, default=0, help="default twice the rank")
    recipe.add_argument("--lora-dropout", type=float, default=0.0)
    recipe.add_argument("--lora-targets", nargs="+", metavar="LAYER", help="default all linear")
    recipe.add_argument("--seed", type=int, default=0)


def _add_machine_arguments(machine: Any) -> None:
    machine.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU if there is one")
    machine.add_argument(
        "--precision", choices=("float32", "bfloat16"), help="default bfloat16 on a GPU"
    )
    machine.add_argument("--sequences", type=int, default=1, help="of one forward (default 1)")
    machine.add_argument("--no-pack", action="store_true", help="one sample a sequence")
    machine.add_argument("--gradient-checkpointing", action="store_true")
    machine.add_argument("--fsdp", action="store_true", help="shard over torchrun's processes")
    machine.add_argument("--threads", type=int, default=2, help="that read media")
    machine.add_argument("--save-every", type=int, default=100, metavar="STEPS")
    machine.add_argument("--log-every", type=int, default=10, metavar="STEPS")


def run(args: argparse.Namespace) -> int:
    """Check, or train."""
    from vila_ros.training.stages import choose_stages

    stages = tuple(
        stage.changed(
            learning_rate=args.learning_rate,
            batch=args.batch,
            epochs=args.epochs,
            length=args.length,
            tuned=frozenset(args.tune) if args.tune else None,
        )
        for stage in choose_stages(args.stages)
    )
    first = int(os.environ.get("RANK", "0")) == 0
    data = _data_request(args)
    if args.check:
        return _check(args, stages, data) if first else 0
    from vila_ros.training.finetune import finetune
    from vila_ros.training.loop import Interrupted, Interruption

    request = _request(args, stages, data)
    interruption = Interruption()
    _listen(interruption)
    try:
        out = finetune(request, _say, interruption)
    except Interrupted as error:
        if first:
            _say(error.message)
        return 130
    if first:
        _say(f"{out} is complete; try it: vila describe --model {out} IMAGE")
    return 0


def _request(args: argparse.Namespace, stages: tuple[Stage, ...], data: DataRequest) -> FineTune:
    import torch

    from vila_ros.training.data import Packing
    from vila_ros.training.finetune import FineTune
    from vila_ros.training.loop import LoopSettings
    from vila_ros.training.lora import TARGETS, Lora

    if args.out is None:
        raise InvalidRequest("--out DIR is needed, unless --check is given")
    for name, least in (
        ("sequences", 1), ("threads", 1), ("save_every", 1), ("log_every", 1), ("max_steps", 0),
        ("seed", 0),
    ):  # fmt: skip
        if getattr(args, name) < least:
            raise InvalidRequest(
                f"--{name.replace('_', '-')} is {getattr(args, name)}, at least {least} is expected"
            )
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    lora = None
    if args.lora is not None:
        targets = tuple(args.lora_targets or TARGETS)
        lora = Lora(args.lora, args.lora_alpha, args.lora_dropout, targets)
    return FineTune(
        base=_base(args),
        out=args.out,
        stages=stages,
        data=data,
        lora=lora,
        loop=LoopSettings(
            seed=args.seed,
            packing=Packing(args.sequences, not args.no_pack),
            save_every=args.save_every,
            max_steps=args.max_steps,
            threads=args.threads,
        ),
        precision=args.precision or ("bfloat16" if device == "cuda" else "float32"),
        gradient_checkpointing=args.gradient_checkpointing,
        shard=args.fsdp,
        device=device,
        conversation=args.conversation,
        log_every=args.log_every,
    )


def _base(args: argparse.Namespace) -> Any:
    from vila_ros.training.parts import Parts

    parts = (args.vision, args.llm)
    if args.base and not any(parts):
        return args.base
    if all(parts) and not args.base:
        return Parts(
            args.vision,
            args.llm,
            args.projector,
            args.conversation or "vicuna_v1",
            args.select_layer,
        )
    raise InvalidRequest("give either --base DIR, or --vision DIR and --llm DIR")


def _data_request(args: argparse.Namespace) -> DataRequest:
    from vila_ros.datasets.reading.quality import TextLength, load_filter
    from vila_ros.training.stage_data import DataRequest
    from vila_ros.training.stages import STAGES

    mixtures: dict[str, str] = {}
    for given in args.data:
        name, equals, mixture = given.partition("=")
        own = bool(equals) and name in STAGES
        stage, mixture = (name, mixture) if own else ("", given)
        if stage in mixtures:
            whom, prefix = (f"stage {stage}", f"{stage}=") if stage else ("all stages", "")
            raise InvalidRequest(
                f"--data is given twice for {whom}; to train on both write --data "
                f"'{prefix}{mixtures[stage]}+{mixture}'"
            )
        mixtures[stage] = mixture
    filters: list[QualityFilter] = [load_filter(name) for name in args.filter]
    if args.min_characters:
        filters.append(TextLength(least=args.min_characters))
    return DataRequest(
        mixtures,
        args.registry,
        args.media,
        tuple(filters),
        args.on_error,
        not args.no_check,
        args.held_out,
        args.frames,
    )


def _check(args: argparse.Namespace, stages: tuple[Stage, ...], data: DataRequest) -> int:
    """Only look through the data; exit status 1 when something is unfit."""
    from vila_ros.model.checkpoint import load_vila
    from vila_ros.training.stage_data import check_stage

    if not args.base:
        raise InvalidRequest("--check needs --base DIR, whose tokenizer and sizes decide what fits")
    vila = load_vila(args.base, conversation=args.conversation)
    reports = [check_stage(vila, stage, data, _say, args.threads) for stage in stages]
    return int(any(report.issues for report in reports))


def _listen(interruption: Interruption) -> None:
    """The first Ctrl-C or SIGTERM ends the run after its step; the second at once."""

    def ask(number: int, frame: object) -> None:
        if interruption.asked:
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        interruption.asked = True
        _say("stopping after this step; once more stops at once")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
