# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report's cards: what one question asked, and how each model did."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from vila_ros.evaluation.report_plots import (
    calibration_plot,
    colour,
    events_plot,
    histogram,
    rates_plot,
    series_plot,
)
from vila_ros.evaluation.results import Results
from vila_ros.evaluation.summary import QuestionSummary
from vila_ros.evaluation.types import EvaluationQuestion, ScoredAnswer

_UNITLESS = {
    "mean_absolute_error", "root_mean_square_error", "bias", "calibration_error", "brier", "delay",
}  # fmt: skip
_RECORDINGS_SHOWN = 6  # of events and series; all are in results.json


def dot_name(name: str, index: int) -> str:
    """A model's name with its colour."""
    return f"<span class='dot' style='--c:{colour(index)}'></span>{html.escape(name)}"


def question_card(question: EvaluationQuestion, results: Results) -> str:
    """One question."""
    summaries = {model: own[question.id] for model, own in results.summaries.items()}
    answers = [each for each in results.answers if each.question == question.id]
    plots = _PLOTS[question.expect.kind](question, summaries, answers, results)
    asked = next(iter(summaries.values()), None)
    count = "" if asked is None else f"{asked.scored or asked.asked} answers each"
    return (
        f"<article class='card' id='q-{html.escape(question.id, quote=True)}'><header>"
        f"<h3>{html.escape(question.id)}</h3><span class='soft small'>{question.expect.kind}, "
        f"{count}</span></header><p>{html.escape(str(question.fields['prompt']))}</p>"
        f"{_metrics(summaries)}{plots}</article>"
    )


def _metrics(summaries: Mapping[str, QuestionSummary]) -> str:
    names = list(dict.fromkeys(name for each in summaries.values() for name in each.values))
    names = [
        name
        for name in names
        if any(each.values.get(name) is not None for each in summaries.values())
    ]
    head = "".join(
        f"<th class='number'>{html.escape(name.replace('_', ' '))}</th>" for name in names
    )
    rows = []
    for index, (model, summary) in enumerate(summaries.items()):
        cells = "".join(f"<td class='number'>{_cell(summary, name)}</td>" for name in names)
        rows.append(f"<tr><td>{dot_name(model, index)}</td>{cells}</tr>")
    return (
        f"<div class='wide'><table><thead><tr><th>Model</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(summary: QuestionSummary, name: str) -> str:
    value = summary.values.get(name)
    if value is None:
        return "<span class='soft'>-</span>"
    if name == "delay":
        return f"{value:+.2f} s"
    shown = f"{value:.3g}" if name in _UNITLESS else f"{value:.1%}"
    interval = summary.intervals.get(name)
    if interval is None:
        return shown
    return f"{shown} <span class='soft small'>{interval[0]:.0%} to {interval[1]:.0%}</span>"


Answers = Sequence[ScoredAnswer]
Summaries = Mapping[str, QuestionSummary]


def _columns(parts: Sequence[tuple[str, str]]) -> str:
    shown = "".join(
        f"<div><h4>{html.escape(name)}</h4>{part}</div>" for name, part in parts if part
    )
    return f"<div class='columns' style='margin-top:1.1rem'>{shown}</div>" if shown else ""


def _choice(
    question: EvaluationQuestion, summaries: Summaries, answers: Answers, results: Results
) -> str:
    parts = [
        (f"{model}: expected (rows) and given (columns)", _matrix(question, summary, index))
        for index, (model, summary) in enumerate(summaries.items())
        if summary.scored
    ]
    bins = {model: each.bins for model, each in summaries.items() if each.bins}
    if bins:
        parts.append(
            (
                "Right against how sure",
                f"<div style='max-width:22rem'>{calibration_plot(bins)}</div>",
            )
        )
    return _columns(parts)


def _matrix(question: EvaluationQuestion, summary: QuestionSummary, index: int) -> str:
    choices = [str(each) for each in question.fields["choices"]]
    given_names = [*choices]
    if any(given not in choices for _, given in summary.confusion):
        given_names.append("-")
    head = "".join(f"<th scope='col'>{html.escape(each)}</th>" for each in given_names)
    rows = []
    for expected in choices:
        total = sum(count for (row, _), count in summary.confusion.items() if row == expected)
        cells = []
        for given in given_names:
            count = summary.confusion.get((expected, given), 0)
            share = count / total if total else 0.0
            zero = "" if count else " class='zero'"
            cells.append(f"<td{zero} style='--c:{colour(index)};--share:{share:.2f}'>{count}</td>")
        rows.append(f"<tr><th scope='row'>{html.escape(expected)}</th>{''.join(cells)}</tr>")
    return (
        f"<div class='wide'><table class='matrix'><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _number(
    question: EvaluationQuestion, summaries: Summaries, answers: Answers, results: Results
) -> str:
    parts = []
    for recording in list(results.spans)[:_RECORDINGS_SHOWN]:
        own = [each for each in answers if each.recording == recording and each.score is not None]
        if not own:
            continue
        truth = sorted({(each.seconds, float(each.expected)) for each in own})
        models = {
            model: [
                (each.seconds, float(each.given))
                for each in own
                if each.model == model and each.given is not None
            ]
            for model in summaries
        }
        plot = series_plot(truth, models, question.expect.tolerance)
        parts.append(
            f"<h4 style='margin-top:1.1rem'>{html.escape(recording)}: what is true (line, with its "
            f"tolerance) and the answers (dots)</h4><div class='wide'>{plot}</div>"
        )
    return "".join(parts)


def _event(
    question: EvaluationQuestion, summaries: Summaries, answers: Answers, results: Results
) -> str:
    parts = []
    for recording, (start, end) in list(results.spans.items())[:_RECORDINGS_SHOWN]:
        matches = {
            model: each.matches[recording]
            for model, each in summaries.items()
            if recording in each.matches
        }
        if matches:
            plot = events_plot(matches, (end - start) / 1e9)
            parts.append(
                f"<h4 style='margin-top:1.1rem'>{html.escape(recording)}: expected (dots, red "
                "where missed) and reported (triangles, hollow where nothing was)</h4>"
                f"<div class='wide'>{plot}</div>"
            )
    return "".join(parts)


def _text(
    question: EvaluationQuestion, summaries: Summaries, answers: Answers, results: Results
) -> str:
    scores = {
        model: [each.score for each in answers if each.model == model and each.score is not None]
        for model in summaries
    }
    if not any(scores.values()):
        return ""
    plot = histogram(scores, "Answers by F1")
    return _columns([("Answers by F1", f"<div style='max-width:26rem'>{plot}</div>")])


def _fields(
    question: EvaluationQuestion, summaries: Summaries, answers: Answers, results: Results
) -> str:
    rows = [
        (
            name,
            [
                (
                    model,
                    summary.values.get(f"field {name}"),
                    summary.intervals.get(f"field {name}"),
                )
                for model, summary in summaries.items()
            ],
        )
        for name in question.expect.sources
    ]
    if not any(value is not None for _, models in rows for _, value, _ in models):
        return ""
    plot = f"<div class='wide'>{rates_plot(rows)}</div>"
    return f"<h4 style='margin-top:1.1rem'>Fields that are right</h4>{plot}"


_PLOTS = {"choice": _choice, "number": _number, "event": _event, "text": _text, "fields": _fields}
