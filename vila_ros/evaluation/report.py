# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page for people: one file without anything from elsewhere, the same bytes each time."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

from vila_ros.evaluation.report_moments import moments_section
from vila_ros.evaluation.report_plots import differences_plot, rates_plot
from vila_ros.evaluation.report_questions import dot_name, question_card
from vila_ros.evaluation.report_script import MOMENTS_SCRIPT, THEME_SCRIPT
from vila_ros.evaluation.report_style import STYLE
from vila_ros.evaluation.results import Results, Verdict

# Nothing is loaded from anywhere, whatever a model's answer says.
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def page(title: str, navigation: str, body: str, scripts: Sequence[str]) -> str:
    """A whole page around a body."""
    name = html.escape(title)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<link rel='icon' href='data:,'><title>{name}</title><style>{STYLE}</style>"
        f"<script>{scripts[0]}</script></head><body>"
        "<a class='skip' href='#content'>Skip to the content</a>"
        f"<header class='top'><div><strong>{name}</strong><nav aria-label='Sections'>{navigation}"
        "</nav><button id='theme' type='button'>Dark</button></div></header>"
        f"<main id='content'>{body}</main>"
        + "".join(f"<script>{script}</script>" for script in scripts[1:])
        + "</body></html>\n"
    )


def report_page(
    results: Results,
    picture: Callable[[str, str], bytes | None],
    notes: Sequence[str],
) -> str:
    """picture: recording, frame name -> JPEG or None. notes: what was left out, and warnings."""
    sections = [
        _head(results),
        _thresholds(results.lasting()),
        _overview(results),
        _comparisons(results),
        "<section id='questions'><h2>Questions</h2>",
        *(question_card(question, results) for question in results.questions.questions),
        "</section>",
        moments_section(results, picture),
        _notes(notes),
    ]
    links = [("overview", "Overview"), ("questions", "Questions"), ("moments", "Moments")]
    if results.comparisons:
        links.insert(1, ("comparisons", "Comparisons"))
    navigation = "".join(f"<a href='#{name}'>{shown}</a>" for name, shown in links)
    return page(
        results.questions.title, navigation, "".join(sections), (THEME_SCRIPT, MOMENTS_SCRIPT)
    )


def _head(results: Results) -> str:
    seconds = sum(end - start for start, end in results.spans.values()) / 1e9
    lasting = results.lasting()
    failing = sum(not each.holds for each in lasting)
    if not lasting:
        verdict = "<span class='pill'>no thresholds</span>"
    elif failing:
        verdict = f"<span class='pill bad'>{failing} of {len(lasting)} thresholds fail</span>"
    else:
        verdict = f"<span class='pill good'>all {len(lasting)} thresholds hold</span>"
    models = ", ".join(
        f"<b>{html.escape(name)}</b> ({html.escape(runtime)})"
        for name, (_, runtime) in results.engines.items()
    )
    failed = sum(bool(each.error) for each in results.answers)
    facts = [
        f"<span><b>{len(results.spans)}</b> recording{'s' * (len(results.spans) != 1)}, "
        f"<b>{_minutes(seconds)}</b></span>",
        f"<span><b>{len(results.questions.questions)}</b> "
        f"question{'s' * (len(results.questions.questions) != 1)}, "
        f"<b>{len(results.answers)}</b> answers{f', {failed} failed' if failed else ''}</span>",
        f"<span>{models}</span>",
    ]
    return (
        f"<h1>{html.escape(results.questions.title)}</h1><p>{verdict}</p>"
        f"<div class='facts'>{''.join(facts)}</div>"
    )


def _thresholds(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    rows = "".join(
        f"<tr><td class='{'good' if each.holds else 'bad'}'>"
        f"{'holds' if each.holds else 'fails'}</td><td>{html.escape(each.threshold.text)}</td>"
        f"<td>{html.escape(each.model)}</td><td class='number'>"
        f"{'nothing measured' if each.value is None else f'{each.value:.4g}'}</td></tr>"
        for each in verdicts
    )
    return (
        "<section id='thresholds'><h2>Thresholds</h2><div class='card wide'><table><thead><tr>"
        "<th></th><th>Threshold</th><th>Model</th><th class='number'>Measured</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _overview(results: Results) -> str:
    models = list(results.summaries)
    rows = []
    for question in results.questions.questions:
        own = []
        for model in models:
            summary = results.summaries[model][question.id]
            name = summary.headline
            own.append((model, summary.values.get(name), summary.intervals.get(name)))
        headline = results.summaries[models[0]][question.id].headline if models else ""
        rows.append((f"{question.id} ({headline.replace('_', ' ')})", own))
    legend = (
        "<div class='legend'>"
        + "".join(f"<span>{dot_name(name, index)}</span>" for index, name in enumerate(models))
        + "</div>"
        if len(models) > 1
        else ""
    )
    return (
        "<section id='overview'><h2>Overview</h2><div class='card'>"
        "<p class='soft'>The headline metric of each question. Bars are 95 % intervals (Wilson): "
        "how far the true rate may be from what these answers show.</p>"
        f"{legend}<div class='wide'>{rates_plot(rows)}</div></div></section>"
    )


def _comparisons(results: Results) -> str:
    if not results.comparisons:
        return ""
    shown = results.comparisons
    plot = differences_plot(
        [
            (
                f"{each.question}: {each.second} − {each.first}",
                each.bootstrap.mean,
                each.bootstrap.low,
                each.bootstrap.high,
                each.verdict,
            )
            for each in shown
        ]
    )
    rows = "".join(
        f"<tr><td>{html.escape(each.question)}</td><td>{html.escape(each.second)}</td>"
        f"<td>{html.escape(each.first)}</td>"
        f"<td class='{ {'better': 'good', 'worse': 'bad'}.get(each.verdict, 'soft') }'>"
        f"{each.verdict}</td><td class='number'>{each.bootstrap.mean:+.3f}</td>"
        f"<td class='number'>{each.bootstrap.low:+.3f} to {each.bootstrap.high:+.3f}</td>"
        f"<td class='number'>{each.bootstrap.p:.3f}</td>"
        f"<td class='number'>{each.only_second} : {each.only_first}</td>"
        f"<td class='number'>{each.mcnemar_p:.3f}</td><td class='number'>{each.pairs}</td></tr>"
        for each in shown
    )
    return (
        "<section id='comparisons'><h2>Comparisons</h2><div class='card'>"
        "<p class='soft'>Differences of scores at the same moments. Intervals and p are of a "
        "paired bootstrap, which draws stretches of ten seconds where there are at least ten, for "
        "answers of one moment are alike. “Alone right” counts moments that one got entirely "
        "right and the other did not, with the exact p of McNemar's test.</p>"
        f"<div class='wide'>{plot}</div></div><div class='card wide'><table><thead><tr>"
        "<th>Question</th><th>This</th><th>Against</th><th>Verdict</th>"
        "<th class='number'>Difference</th><th class='number'>95 %</th><th class='number'>p</th>"
        "<th class='number'>Alone right</th><th class='number'>p</th><th class='number'>Pairs</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _notes(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    section = f"<section id='notes'><h2>Notes</h2><ul>{listed}</ul></section>" if notes else ""
    return (
        f"{section}<footer>Everything here is in results.json, all answers are in answers.jsonl. "
        "How long answers took, which differs each time, is in "
        "<a href='timings.html'>timings.html</a>.</footer>"
    )


def _minutes(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
