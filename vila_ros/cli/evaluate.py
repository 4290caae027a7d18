# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila evaluate`: score models on recordings, for people (a page) and for CI (exit status)."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from vila_ros.cli.engine_arguments import DEFAULT_MODEL, add_engine_spec_arguments, engine_spec
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.output import write_output
from vila_ros.evaluation.question_file import read_question_file
from vila_ros.evaluation.results import Results
from vila_ros.evaluation.run import Evaluated, EvaluationSettings, evaluate
from vila_ros.fleet.arguments import add_fleet_arguments, add_recordings_argument
from vila_ros.fleet.progress import ProgressLine
from vila_ros.perception.plain_text import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    add_recordings_argument(parser)
    parser.add_argument(
        "--questions", type=Path, required=True, metavar="FILE", help="see docs/evaluation.md"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument(
        "--baseline", type=Path, metavar="DIR", help="output of an earlier run to compare with"
    )
    parser.add_argument(
        "--frame-rate", type=float, metavar="HZ", help="where a source has no times"
    )
    add_engine_spec_arguments(parser, several=True)
    add_fleet_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; 1 where a threshold fails or something could not be asked."""
    questions = read_question_file(args.questions)
    settings = EvaluationSettings(
        models=models_of(args),
        seed=args.seed,
        frame_rate=args.frame_rate,
        baseline=args.baseline,
    )
    logging.getLogger("vila_ros.bags").setLevel(logging.ERROR)  # warnings are told at the end
    with ProgressLine("recorded s", "parts") as line:
        evaluated = evaluate(
            args.recordings,
            questions,
            args.questions.read_text(encoding="utf-8"),
            settings,
            args.out,
            write_output,
            workers=args.workers,
            ray=args.ray,
            progress=line,
        )
    return _conclude(evaluated, args.out)


def models_of(args: argparse.Namespace) -> dict[str, EngineSpec]:
    """The models by name: NAME:=MODEL, or the last part of the folder or id.

    Raises InvalidRequest for a name that is given twice.
    """
    models: dict[str, EngineSpec] = {}
    for given in args.model or [DEFAULT_MODEL]:
        name, separator, model = given.partition(":=")
        if not separator:
            name, model = given.rstrip("/").rsplit("/", 1)[-1], given
        if not name or not model:
            raise InvalidRequest(f"--model {given}: write NAME:=MODEL, or a folder or hub id.")
        if name in models:
            raise InvalidRequest(
                f"Two models are called '{name}'; name them, as --model {name}_2:={model}."
            )
        models[name] = engine_spec(args, model)
    return models


def _conclude(evaluated: Evaluated, out: Path) -> int:
    for warning in evaluated.warnings:
        print(f"  {warning}", file=sys.stderr)
    reasons: dict[str, list[str]] = {}
    for name, why in evaluated.unreadable.items():
        reasons.setdefault(why, []).append(name)
    for why, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"vila evaluate: {', '.join(names[:3])}{more}: {why}", file=sys.stderr)
    if evaluated.results is not None:
        _print_results(evaluated.results)
        print(f"{out / 'report.html'}")
    elif not evaluated.unreadable:
        print(f"{out} is complete already; nothing was done.")
        for each in evaluated.verdicts:
            print(_verdict_line(each["holds"], each["threshold"], each["model"], each["value"]))
    return 0 if evaluated.passed and not evaluated.unreadable else 1


def _print_results(results: Results) -> None:
    rows = [("question", "model", "metric", "value", "95 %", "answers")]
    for question in results.questions.questions:
        for model, summaries in results.summaries.items():
            summary = summaries[question.id]
            value = summary.values.get(summary.headline)
            interval = summary.intervals.get(summary.headline)
            rows.append(
                (
                    question.id,
                    plain(model),
                    summary.headline,
                    "-" if value is None else f"{value:.3f}",
                    "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
                    f"{summary.scored or summary.asked}"
                    + (f", {summary.failed} failed" if summary.failed else ""),
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    for each in results.comparisons:
        drawn = each.bootstrap
        print(
            f"{each.question}: {each.second} against {each.first}: {each.verdict} "
            f"({drawn.mean:+.3f}, {drawn.low:+.3f} to {drawn.high:+.3f}, p {drawn.p:.3f})"
        )
    for verdict in results.verdicts:
        print(_verdict_line(verdict.holds, verdict.threshold.text, verdict.model, verdict.value))


def _verdict_line(holds: bool, threshold: str, model: str, value: float | None) -> str:
    measured = "nothing measured" if value is None else f"{value:.4g}"
    return f"{'holds' if holds else 'FAILS'}  {threshold}  ({model}: {measured})"
