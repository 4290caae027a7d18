# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The files of an evaluation.

The same each time the same models answer the same questions about the same recordings:
answers.jsonl, results.json, report.html. Different each time: timings.json and timings.html.
"""

from __future__ import annotations

import html
import json
from pathlib import Path

from vila_ros.evaluation.baseline import ANSWERS, write_answers
from vila_ros.evaluation.report import page, report_page
from vila_ros.evaluation.report_script import THEME_SCRIPT
from vila_ros.evaluation.results import Results
from vila_ros.evaluation.run import Gathered
from vila_ros.fleet.output_folder import OutputFolder


def write_output(output: OutputFolder, results: Results, gathered: Gathered) -> None:
    """Write all of them. Raises UnusableFolder."""

    def picture(recording: str, frame: str) -> bytes | None:
        path: Path | None = gathered.frames.get((recording, frame))
        try:
            return None if path is None else path.read_bytes()
        except OSError:
            return None

    notes = [
        *(f"{name} was left out: {why}" for name, why in gathered.unreadable.items()),
        *gathered.warnings,
    ]
    output.write(ANSWERS, write_answers(results.answers))
    output.write("report.html", report_page(results, picture, notes))
    output.write("timings.html", timings_page(results))
    output.write("timings.json", _json(results.timings_json()))
    facts = {**results.to_json(), "notes": notes}
    output.write("results.json", _json(facts))


def timings_page(results: Results) -> str:
    """How long answers took."""
    rows = []
    for model, questions in (results.timings or {}).items():
        for name, figures in questions.items():
            cells = "".join(
                f"<td class='number'>{figures[key]:.3f}</td>"
                if key in figures
                else "<td class='number soft'>-</td>"
                for key in ("latency_p50", "latency_p95", "latency_p99", "first_token_p50")
            )
            speed = figures.get("tokens_per_second")
            rows.append(
                f"<tr><td>{html.escape(model)}</td><td>{html.escape(name)}</td>"
                f"<td class='number'>{figures['answers']:.0f}</td>{cells}<td class='number'>"
                f"{'-' if speed is None else f'{speed:.1f}'}</td></tr>"
            )
    verdicts = "".join(
        f"<tr><td class='{'good' if each['holds'] else 'bad'}'>"
        f"{'holds' if each['holds'] else 'fails'}</td><td>{html.escape(each['threshold'])}</td>"
        f"<td>{html.escape(each['model'])}</td><td class='number'>{each['value']}</td></tr>"
        for each in results.timings_json()["thresholds"]
    )
    body = (
        f"<h1>{html.escape(results.questions.title)}: how long it took</h1>"
        "<p class='soft'>Seconds from the engine's begin to the last token, on the machine that "
        "ran it; these figures differ each time. What was answered is in "
        "<a href='report.html'>report.html</a>.</p>"
        "<div class='card wide'><table><thead><tr><th>Model</th><th>Question</th>"
        "<th class='number'>Answers</th><th class='number'>p50</th><th class='number'>p95</th>"
        "<th class='number'>p99</th><th class='number'>First token, p50</th>"
        f"<th class='number'>Tokens/s, p50</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "</div>"
    )
    if verdicts:
        body += f"<h2>Thresholds</h2><div class='card wide'><table>{verdicts}</table></div>"
    link = "<a href='report.html'>Report</a>"
    return page(f"{results.questions.title}: timings", link, body, (THEME_SCRIPT,))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
