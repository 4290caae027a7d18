# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report's moments: a frame, and what was answered about it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vila_ros.evaluation.report_plots import colour
from vila_ros.evaluation.results import Results
from vila_ros.evaluation.types import ScoredAnswer

MOST = 150
Key = tuple[str, int]
"""Recording and stamp."""


def chosen_moments(answers: Sequence[ScoredAnswer], most: int = MOST) -> list[Key]:
    """Which moments are shown, in time order: all, or where there are too many, half of them those
    with the worst answers and the rest evenly spread."""
    worst: dict[Key, float] = {}
    for each in answers:
        key = (each.recording, each.stamp_ns)
        lost = 0.0 if each.score is None else 1.0 - each.score
        worst[key] = worst.get(key, 0.0) + lost + bool(each.error)
    keys = list(worst)
    if len(keys) <= most:
        return keys
    bad = sorted(keys, key=lambda key: -worst[key])[: most // 2]
    rest = [key for key in keys if key not in set(bad)]
    count = most - len(bad)
    spread = [rest[index * len(rest) // count] for index in range(count)]
    chosen = {*bad, *spread}
    return [key for key in keys if key in chosen]


def moments_section(results: Results, picture: Callable[[str, str], bytes | None]) -> str:
    """The section with its filters. picture: recording, frame name -> JPEG."""
    grouped: dict[Key, list[ScoredAnswer]] = {}
    for each in results.answers:
        grouped.setdefault((each.recording, each.stamp_ns), []).append(each)
    keys = chosen_moments(results.answers)
    several = len(results.spans) > 1
    models = list(results.summaries)
    order = {question.id: place for place, question in enumerate(results.questions.questions)}
    for own in grouped.values():
        own.sort(key=lambda each: (order[each.question], models.index(each.model)))
    cards = [_card(grouped[key], several, models, picture) for key in keys]
    left_out = len(grouped) - len(keys)
    note = (
        f"<p class='soft'>{len(keys)} of {len(grouped)} moments: half of them those with the most "
        "wrong answers, the others evenly spread. All are in answers.jsonl.</p>"
        if left_out
        else ""
    )
    return (
        f"<section id='moments'><h2>Moments</h2>{note}{_filters(results)}"
        f"<div class='moments'>{''.join(cards)}</div>{_DIALOG}</section>"
    )


def _filters(results: Results) -> str:
    questions = [(each.id, each.id) for each in results.questions.questions]
    outcomes = [
        ("wrong", "wrong"), ("right", "right"), ("failed", "failed"), ("open", "not scored"),
    ]  # fmt: skip
    return (
        "<form class='controls' id='filters'>"
        + _select("question", "Question", "all questions", questions)
        + _select("model", "Model", "all models", [(name, name) for name in results.summaries])
        + _select("outcome", "Outcome", "all outcomes", outcomes)
        + "<label>Search<input type='search' name='search' placeholder='words of an answer'>"
        "</label><button type='reset'>Clear</button>"
        "<output id='shown' class='soft' aria-live='polite'></output></form>"
    )


def _select(name: str, label: str, every: str, options: Sequence[tuple[str, str]]) -> str:
    listed = "".join(
        f"<option value='{html.escape(value)}'>{html.escape(shown)}</option>"
        for value, shown in options
    )
    return (
        f"<label>{label}<select name='{name}'><option value=''>{every}</option>{listed}</select>"
        "</label>"
    )


_DIALOG = (
    "<dialog id='closer' aria-label='A moment'><div class='bar'><h3></h3>"
    "<button id='before' type='button'>Before</button><button id='after' type='button'>After"
    "</button><button id='close' type='button'>Close</button></div>"
    "<img alt='' src='data:,'><ul></ul></dialog>"
).replace(" src='data:,'", "")


def _card(
    answers: Sequence[ScoredAnswer],
    several: bool,
    models: Sequence[str],
    picture: Callable[[str, str], bytes | None],
) -> str:
    first = answers[0]
    title = f"{first.seconds:.1f} s"
    if several:
        title = f"{first.recording}, {title}"
    frame = next((each.frame for each in answers if each.frame), "")
    jpeg = picture(first.recording, frame) if frame else None
    if jpeg is None:
        shown = "<span class='none'>no picture</span>"
    else:
        data = base64.b64encode(jpeg).decode()
        alt = html.escape(f"{frame.split('@')[0]} camera, {title}", quote=True)
        shown = f"<img decoding='async' alt='{alt}' src='data:image/jpeg;base64,{data}'>"
    label = html.escape(f"Closer look at {title}", quote=True)
    items = "".join(_item(each, models) for each in answers)
    return (
        f"<article class='moment'><button type='button' class='picture' aria-label='{label}'>"
        f"{shown}</button><h3>{html.escape(title)}</h3><ul>{items}</ul></article>"
    )


_MARKS = {"right": ("good", "right"), "wrong": ("bad", "wrong"), "failed": ("bad", "failed")}


def _item(answer: ScoredAnswer, models: Sequence[str]) -> str:
    outcome = outcome_of(answer)
    kind, mark = _MARKS.get(outcome, ("soft", ""))
    if outcome == "wrong" and answer.score:
        mark = f"{answer.score:.0%}"
    dot = ""
    if len(models) > 1:
        paint = colour(models.index(answer.model))
        dot = f"<span class='dot' style='--c:{paint}'></span>{html.escape(answer.model)}"
    said = answer.error or _shown(answer.text) or "(nothing)"
    expected = ""
    if answer.expected is not None and outcome != "right":
        expected = f"<div class='soft small'>expected {html.escape(_shown(answer.expected))}</div>"
    attributes = "".join(
        f" data-{name}='{html.escape(value, quote=True)}'"
        for name, value in (
            ("question", answer.question),
            ("model", answer.model),
            ("outcome", outcome),
        )
    )
    return (
        f"<li{attributes}><div class='answer-head'><span>{html.escape(answer.question)}</span>"
        f"<span>{dot}</span><span class='mark {kind}'>{mark}</span></div>"
        f"<div class='clip'>{html.escape(said)}</div>{expected}</li>"
    )


def outcome_of(answer: ScoredAnswer) -> str:
    """One of failed, right (entirely), wrong, and open where nothing is expected."""
    if answer.error:
        return "failed"
    if answer.score is None:
        if answer.expected is None or answer.given is None:
            return "open"
        return "right" if bool(answer.given) == bool(answer.expected) else "wrong"
    return "right" if answer.score == 1.0 else "wrong"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
