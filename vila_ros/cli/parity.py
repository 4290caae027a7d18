# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila parity`: recompute reference results and show the largest difference of each stage."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vila_ros.model.golden import Check, FileReport


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="GOLDEN_DIR")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, help="largest difference that passes"
    )
    parser.add_argument(
        "--awq", action="store_true", help="the folders hold results of AWQ, not of a model"
    )
    parser.add_argument("--token-order", choices=("row", "column"), help="of mlp_downsample")
    parser.add_argument("--conversation", help="conversation template, by name")


def run(args: argparse.Namespace) -> int:
    """Print a table; 1 if anything differs or could not be checked."""
    import torch

    from vila_ros.errors import VilaError
    from vila_ros.model.parity import check_folder
    from vila_ros.quantization.awq_parity import check_awq_folder

    torch.set_num_threads(1)
    reports: list[FileReport] = []
    unreadable: list[str] = []
    for folder in args.folders:
        try:
            if args.awq:
                reports += check_awq_folder(folder, args.tolerance)
                continue
            reports += check_folder(
                folder,
                args.tolerance,
                token_order=args.token_order,
                conversation=args.conversation,
            )
        except VilaError as error:  # the other folders are checked all the same
            unreadable.append(f"FAILED {folder}: {error.message}")
    for line in format_table(reports):
        print(line)
    failures = unreadable + [
        f"FAILED {name_of(report)} {check.stage}: {check.failure}"
        for report in reports
        for check in report.checks
        if check.failure
    ]
    failures += [
        f"FAILED {name_of(report)}: nothing to check"
        for report in reports
        if not report.passed and not any(check.failure for check in report.checks)
    ]
    print("\n".join(["", *failures]) if failures else f"\n{len(reports)} files agree")
    return 1 if failures else 0


def format_table(reports: Sequence[FileReport]) -> list[str]:
    """One line a file, one column a stage that any file has."""
    from vila_ros.model.golden import STAGES

    seen = {check.stage for report in reports for check in report.checks}
    stages = [stage for stage in (*STAGES, "file") if stage in seen]
    rows = [["file", *stages]]
    for report in reports:
        cells = []
        for stage in stages:
            checks = [check for check in report.checks if check.stage == stage]
            cells.append(_cell(checks))
        rows.append([name_of(report), *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def name_of(report: FileReport) -> str:
    """Folder and file, enough to find it."""
    return f"{report.path.parent.name}/{report.path.stem}"


def _cell(checks: Sequence[Check]) -> str:
    """The worst of a stage's checks."""
    if not checks:
        return "-"
    if any(check.failure for check in checks):
        numbers = [check.difference for check in checks if check.difference is not None]
        return f"FAILED {max(numbers):.1e}" if numbers else "FAILED"
    numbers = [check.difference for check in checks if check.difference is not None]
    return f"{max(numbers):.1e}" if numbers else checks[0].note
