# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a quantisation cost, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vila_ros.quantization.quality import AWQ, FLOAT, NEAREST, Quality

TITLES = {FLOAT: "before", AWQ: "int4, AWQ", NEAREST: "int4, rounded to nearest"}


@dataclass(frozen=True)
class LayerError:
    """Relative root mean square error of a layer's output on calibration inputs."""

    layer: str
    awq: float
    nearest: float


@dataclass(frozen=True)
class QuantiseReport:
    """What was done and what it cost; quality by version (quality.VERSIONS)."""

    model: str
    format: str
    group: int
    symmetric: bool
    origin: str
    calibration_samples: int
    held_out_samples: int
    quality: Mapping[str, Quality]
    layers: tuple[LayerError, ...]


def report_paths(out: Path) -> tuple[Path, Path]:
    """JSON and Markdown, beside the folder that was written."""
    return out.with_name(out.name + ".report.json"), out.with_name(out.name + ".report.md")


def write_report(report: QuantiseReport, out: Path) -> None:
    """Write both forms."""
    as_json, as_text = report_paths(out)
    as_json.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
    as_text.write_text("\n".join(markdown(report)) + "\n", encoding="utf-8")


def summary(report: QuantiseReport) -> list[str]:
    """The table of quality, for a terminal."""
    rows = [("", "perplexity", "tokens agree", "answers agree", "logits error")]
    for version, title in TITLES.items():
        q = report.quality[version]
        agree = (f"{q.token_agreement:.1%}", f"{q.answer_agreement:.1%}")
        rows.append((title, f"{q.perplexity:.3f}", *agree, f"{q.logits_error:.4f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(report: QuantiseReport) -> list[str]:
    """The whole report."""
    kind = "symmetric" if report.symmetric else "with zero points"
    lines = [
        f"# {report.model} in int4",
        "",
        f"Format {report.format}, groups of {report.group}, {kind}. Calibrated with "
        f"{report.calibration_samples} samples, judged by {report.held_out_samples} others, from "
        f"{report.origin}.",
        "",
        "| | perplexity | tokens picked alike | answers picked alike | logits error |",
        "|---|---|---|---|---|",
    ]
    for version, title in TITLES.items():
        q = report.quality[version]
        lines.append(
            f"| {title} | {q.perplexity:.3f} | {q.token_agreement:.1%} | {q.answer_agreement:.1%} "
            f"| {q.logits_error:.4f} |"
        )
    lines += [
        "",
        "Perplexity is that of the held-out answers (of all text where a sample has no answer). A "
        "token is picked alike where it is the likeliest one before and after, given the same text "
        "before it; an answer, where all its tokens are. Errors are relative root mean squares.",
        "",
        "| layer | output error, AWQ | rounded to nearest |",
        "|---|---|---|",
        *(f"| {e.layer} | {e.awq:.4f} | {e.nearest:.4f} |" for e in report.layers),
    ]
    return lines
