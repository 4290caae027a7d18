# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila verify-runtime`: hold an installed runtime to what this package expects, on its hardware.

Run it with the interpreter that has the runtime, on the machine that will use it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vila_ros.engine.interface import Capabilities
    from vila_ros.engine.runtime_contracts import Comparison
    from vila_ros.engine.runtime_probes import Outcome, Probe

RUNTIMES_WITH_CONTRACTS = ("tensorrt_llm_engine", "tensorrt_llm_pytorch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--list", action="store_true", help="show contracts and probes, run none")
    parser.add_argument("--engine", metavar="DIR", help="an engine folder to probe")
    parser.add_argument("--model", metavar="DIR", help="a VILA folder to probe")
    parser.add_argument("--runtime", help="default: tensorrt_llm_engine, or _pytorch for --model")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="of the runtime's class"
    )
    parser.add_argument("--report", type=Path, help="write the outcome as JSON, too")


def run(args: argparse.Namespace) -> int:
    """Compare and probe; 1 unless everything that the runtime offers passed."""
    from vila_ros.fleet.files import write_whole

    if args.list:
        print("\n".join(listing()))
        return 0
    runtime, model, options = chosen(args)
    comparisons = compare_installed(runtime)
    for line in signature_lines(comparisons):
        print(line, flush=True)
    if any(not each.agrees for each in comparisons):
        print("\nnot signed off: the installed runtime differs from what was written against")
        return 1
    capabilities, outcomes = probe(runtime, model, options)
    report = as_report(runtime, model, capabilities, comparisons, outcomes)
    print("\n".join(["", *table(outcomes), "", *sign_off(report)]))
    if args.report is not None:
        write_whole(args.report, json.dumps(report, indent=2) + "\n")
    return 0 if report["signed_off"] else 1


def chosen(args: argparse.Namespace) -> tuple[str, str, dict[str, Any]]:
    """Runtime, model and options. Raises InvalidRequest."""
    from vila_ros.errors import InvalidRequest

    if (args.engine is None) == (args.model is None):
        raise InvalidRequest("name what to probe: either --engine DIR or --model DIR (or --list)")
    default = "tensorrt_llm_engine" if args.engine else "tensorrt_llm_pytorch"
    options = {}
    for given in args.option:
        name, _, value = given.partition("=")
        try:
            options[name] = json.loads(value)
        except ValueError as error:
            raise InvalidRequest(
                f"--option {given!r} is not NAME=JSON ({error}), such as device='\"cuda:0\"'"
            ) from error
    return args.runtime or default, args.engine or args.model, options


def compare_installed(runtime: str) -> list[Comparison]:
    """The installed signatures beside the expected ones; empty for runtimes of our own."""
    from vila_ros.engine.runtime_contracts import compare, installed_api

    if runtime not in RUNTIMES_WITH_CONTRACTS:
        return []
    version, installed = installed_api(runtime)
    print(f"{runtime}: tensorrt_llm {version}")
    return compare(runtime, version, installed)


def probe(
    runtime: str, model: str, options: dict[str, Any]
) -> tuple[Capabilities, list[tuple[Probe, Outcome]]]:
    """Load the engine in this process and run every probe."""
    from vila_ros.engine.interface import EngineSpec
    from vila_ros.engine.registry import create_engine
    from vila_ros.engine.runtime_probes import PROBES, run_probe

    engine = create_engine(EngineSpec(runtime, model, options))
    try:
        capabilities = engine.load()
        print(f"loaded {capabilities.model} as {capabilities.dtype}, probing", flush=True)
        return capabilities, [(each, run_probe(each, engine, capabilities)) for each in PROBES]
    finally:
        engine.close()


def listing() -> list[str]:
    """Contracts and probes, for a machine that has none of the runtimes."""
    from vila_ros.engine.contract_data import CONTRACTS
    from vila_ros.engine.runtime_probes import PROBES

    lines = ["contracts (callable, arguments given; source in NVIDIA/TensorRT-LLM):"]
    for runtime in RUNTIMES_WITH_CONTRACTS:
        for each in (contract for contract in CONTRACTS if contract.runtime == runtime):
            span = f"{each.first} to {each.last}"
            lines += [
                f"  {runtime}  {span}  {each.name}({', '.join(each.parameters)})",
                f"      {each.source}",
            ]
    lines.append("probes:")
    lines += [f"  {each.name:<14}{each.about}" for each in PROBES]
    lines.append("not yet verified on hardware: tensorrt_llm_engine, tensorrt_llm_pytorch")
    return lines


def signature_lines(comparisons: list[Comparison]) -> list[str]:
    """The installed signatures, each with the verdict."""
    return [
        f"  {each.contract.name}({', '.join(each.installed or ())}): {each.says}"
        for each in comparisons
    ]


def table(outcomes: list[tuple[Probe, Outcome]]) -> list[str]:
    """The probes' outcomes in columns."""
    words = {True: "passed", False: "FAILED", None: "not offered"}
    lines = [f"{'probe':<15}{'outcome':<13}{'tokens/s':>9}{'first token':>13}  detail"]
    for each, outcome in outcomes:
        speed = first = "–"
        if outcome.stats is not None:
            speed = f"{outcome.stats.tokens_per_second:.1f}"
            first = f"{outcome.stats.time_to_first_token * 1000:.0f} ms"
        lines.append(
            f"{each.name:<15}{words[outcome.passed]:<13}{speed:>9}{first:>13}  {outcome.detail}"
        )
    return lines


def as_report(
    runtime: str,
    model: str,
    capabilities: Capabilities,
    comparisons: list[Comparison],
    outcomes: list[tuple[Probe, Outcome]],
) -> dict[str, Any]:
    """Everything that was found, as JSON values, with a digest over it."""
    from vila_ros import __version__
    from vila_ros.engine.machine import this_machine

    machine = this_machine()
    report: dict[str, Any] = {
        "vila_ros": __version__,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "gpu": f"{machine.gpu.name} ({machine.gpu.architecture})" if machine.gpu else None,
        "runtime": capabilities.runtime or runtime,
        "model": capabilities.model,
        "dtype": capabilities.dtype,
        "memory_bytes": capabilities.memory_bytes,
        "signatures": {each.contract.name: list(each.installed or ()) for each in comparisons},
        "probes": [
            {
                "name": each.name,
                "passed": outcome.passed,
                "detail": outcome.detail,
                "tokens_per_second": outcome.stats.tokens_per_second if outcome.stats else None,
                "time_to_first_token": outcome.stats.time_to_first_token if outcome.stats else None,
            }
            for each, outcome in outcomes
        ],
        "signed_off": all(outcome.passed is not False for _, outcome in outcomes),
    }
    report["sha256"] = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()
    return report


def sign_off(report: dict[str, Any]) -> list[str]:
    """What was verified, where, and whether it stands."""
    where = report["gpu"] or "no GPU"
    failed = [each["name"] for each in report["probes"] if each["passed"] is False]
    verdict = f"not signed off: {', '.join(failed)} failed" if failed else "signed off"
    return [
        f"{report['runtime']}, {report['model']} ({report['dtype']}) on {where}, "
        f"{report['memory_bytes'] / 1e9:.1f} GB, {report['time']}",
        f"{verdict}; sha256 {report['sha256']}",
    ]
