# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report's plots as inline SVG, coloured by the page's style so that they follow its theme."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from vila_ros.evaluation.metrics import CalibrationBin, EventMatch

COLOURS = 6


def colour(index: int) -> str:
    """The colour of a model, by its place."""
    return f"var(--m{index % COLOURS})"


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A picture that says what it is to those who do not see it."""
    name = html.escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{name}">'
        + "".join(parts)
        + "</svg>"
    )


def line(x0: float, y0: float, x1: float, y1: float, kind: str = "grid") -> str:
    """A line of the style's kind."""
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """A text at a baseline."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html.escape(words)}</text>"
    )


def dot(x: float, y: float, fill: str, tip: str, radius: float = 4.5) -> str:
    """A dot that says its value when pointed at."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}">'
        f"<title>{html.escape(tip)}</title></circle>"
    )


def whisker(x0: float, x1: float, y: float, stroke: str) -> str:
    """An interval."""
    return (
        f'<path d="M{x0:.1f} {y:.1f}H{x1:.1f}M{x0:.1f} {y - 4:.1f}v8M{x1:.1f} {y - 4:.1f}v8" '
        f'stroke="{stroke}" stroke-width="1.6" fill="none"/>'
    )


def rates_plot(
    rows: Sequence[tuple[str, Sequence[tuple[str, float | None, tuple[float, float] | None]]]],
) -> str:
    """Rates from 0 to 1 with their intervals: a group a question, a line a model."""
    left, right, width, step = 190.0, 50.0, 760.0, 22.0
    height = 14.0 + sum(step * len(models) + 12.0 for _, models in rows) + 24.0
    span = width - left - right
    parts = []
    for tick in range(0, 11, 2):
        x = left + span * tick / 10
        parts.append(line(x, 8, x, height - 22))
        parts.append(text(x, height - 6, f"{tick * 10} %", "middle"))
    y = 22.0
    for name, models in rows:
        parts.append(
            text(left - 14, y + 4 + step * (len(models) - 1) / 2, _cut(name), "end", "ink")
        )
        for index, (model, value, interval) in enumerate(models):
            if value is None:
                parts.append(text(left + 6, y + 4, "nothing scored"))
            else:
                if interval is not None:
                    x0, x1 = (left + span * end for end in interval)
                    parts.append(whisker(x0, x1, y, colour(index)))
                x = left + span * value
                parts.append(dot(x, y, colour(index), f"{name}, {model}: {value:.1%}"))
                parts.append(text(width - right + 8, y + 4, f"{value:.0%}", kind="ink"))
            y += step
        y += 12.0
    return svg(width, height, "Headline metric of each question and model, with intervals", parts)


def differences_plot(rows: Sequence[tuple[str, float, float, float, str]]) -> str:
    """Differences with their intervals around zero; (name, mean, low, high, verdict)."""
    left, right, width, step = 290.0, 70.0, 760.0, 30.0
    most = max(max(abs(low), abs(high), abs(mean)) for _, mean, low, high, _ in rows)
    most = max(0.05, math.ceil(most * 20) / 20)
    height, span = 16.0 + step * len(rows) + 24.0, width - left - right

    def place(value: float) -> float:
        return left + span * (value / most + 1) / 2

    parts = [line(place(0), 6, place(0), height - 22, "axis")]
    for value in (-most, 0.0, most):
        parts.append(text(place(value), height - 6, f"{value:+.2g}" if value else "0", "middle"))
    for index, (name, mean, low, high, verdict) in enumerate(rows):
        y = 22.0 + step * index
        paint = {"better": "var(--good)", "worse": "var(--bad)"}.get(verdict, "var(--soft)")
        parts.append(text(left - 14, y + 4, _cut(name, 44), "end", "ink"))
        parts.append(whisker(place(low), place(high), y, paint))
        parts.append(dot(place(mean), y, paint, f"{name}: {mean:+.3f}"))
        parts.append(text(width - right + 10, y + 4, f"{mean:+.3f}", kind="ink"))
    return svg(width, height, "Differences of scores with 95 % intervals", parts)


def calibration_plot(models: Mapping[str, Sequence[CalibrationBin]]) -> str:
    """How right answers are against how sure the model was; on the diagonal is well calibrated."""
    size, left, bottom = 300.0, 40.0, 34.0
    span = size - left - 10

    def place(x: float, y: float) -> tuple[float, float]:
        return left + span * x, 10 + span * (1 - y)

    (x0, y0), (x1, y1) = place(0, 0), place(1, 1)
    parts = []
    for tick in range(0, 5):
        x, y = place(tick / 4, tick / 4)
        parts += [line(x, y1, x, y0), line(x0, y, x1, y)]
        parts.append(text(x, y0 + 16, f"{tick * 25} %", "middle"))
        parts.append(text(x0 - 6, y + 4, f"{tick * 25} %", "end"))
    parts.append(line(x0, y0, x1, y1, "axis"))
    for index, (model, bins) in enumerate(models.items()):
        points = [place(each.confidence, each.accuracy) for each in bins]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour(index)}" stroke-width="1.6"/>'
        )
        for each, (x, y) in zip(bins, points, strict=True):
            tip = f"{model}: {each.count} answers, {each.confidence:.0%} sure, {each.accuracy:.0%}"
            parts.append(
                dot(x, y, colour(index), tip + " right", 3 + min(5.0, each.count**0.5 / 2))
            )
    parts.append(text(x0 + span / 2, size - 2, "how sure the model was", "middle"))
    return svg(size, size + bottom - 30, "Calibration: accuracy against confidence", parts)


def series_plot(
    truth: Sequence[tuple[float, float]],
    models: Mapping[str, Sequence[tuple[float, float]]],
    tolerance: float,
    most: int = 600,
) -> str:
    """Numbers over a recording: what is true with its tolerance, and what was answered."""
    width, height, left, bottom = 760.0, 220.0, 48.0, 26.0
    truth = _thinned(truth, most)
    models = {name: _thinned(points, most) for name, points in models.items()}
    every = [*truth, *(point for points in models.values() for point in points)]
    times = [time for time, _ in every] or [0.0]
    values = [value for _, value in truth]
    # A wild answer must not press everything else flat: the range is that of nearly all.
    values += sorted(value for points in models.values() for _, value in points)[: len(every)]
    low, high = _robust(values, [value for _, value in truth])
    ticks = _ticks(low - tolerance, high + tolerance)
    low, high = ticks[0], ticks[-1]
    start, end = min(times), max(times)
    span = (end - start) or 1.0

    def place(time: float, value: float) -> tuple[float, float]:
        inside = min(max(value, low), high)
        return (
            left + (width - left - 10) * (time - start) / span,
            10 + (height - bottom - 10) * (1 - (inside - low) / (high - low)),
        )

    parts = []
    for value in ticks:
        _, y = place(start, value)
        parts += [line(left, y, width - 10, y), text(left - 8, y + 4, f"{value:g}", "end")]
    for time in _inside(start, end):
        parts.append(text(place(time, low)[0], height - 6, f"{time:g} s", "middle"))
    if tolerance and len(truth) > 1:
        over = [place(time, value + tolerance) for time, value in truth]
        under = [place(time, value - tolerance) for time, value in reversed(truth)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (*over, *under))
        parts.append(f'<polygon class="band" points="{path}"/>')
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in truth))
    parts.append(f'<polyline class="truth" points="{path}"/>')
    for index, (name, points) in enumerate(models.items()):
        radius = 3.0 + 1.4 * (len(models) - 1 - index)  # equal answers show as rings
        for time, value in points:
            x, y = place(time, value)
            parts.append(dot(x, y, colour(index), f"{name}: {value:g} at {time:g} s", radius))
    return svg(width, height, "Answers over time against what is true", parts)


def events_plot(match_by_model: Mapping[str, EventMatch], seconds: float) -> str:
    """Events of one recording: expected above, reported below, pairs joined."""
    width, left, step = 760.0, 150.0, 54.0
    height = step * len(match_by_model) + 30.0
    span = seconds or 1.0

    def place(time: float) -> float:
        return left + (width - left - 16) * time / span

    parts = []
    for time in _inside(0.0, span):
        x = place(time)
        parts += [line(x, 4, x, height - 24)]
        parts.append(text(x, height - 8, f"{time:g} s", "middle"))
    for index, (name, match) in enumerate(match_by_model.items()):
        y = 18.0 + step * index
        parts.append(text(left - 14, y + 16, _cut(name, 20), "end", "ink"))
        for expected, reported in match.pairs:
            parts.append(line(place(expected), y, place(reported), y + 22, "axis"))
        for time in (*(pair[0] for pair in match.pairs), *match.missed):
            missed = time in match.missed
            fill = "var(--bad)" if missed else "var(--ink)"
            tip = f"expected at {time:.1f} s{', missed' if missed else ''}"
            parts.append(dot(place(time), y, fill, tip))
        for time in (*(pair[1] for pair in match.pairs), *match.spurious):
            spurious = time in match.spurious
            x = place(time)
            tip = f"{name} at {time:.1f} s{', nothing was there' if spurious else ''}"
            shape = "none" if spurious else colour(index)
            parts.append(
                f'<path d="M{x:.1f} {y + 16:.1f}l5 9h-10z" fill="{shape}" '
                f'stroke="{colour(index)}" stroke-width="1.6"><title>{html.escape(tip)}</title>'
                "</path>"
            )
    return svg(width, height, "Events that were expected and reported over time", parts)


def histogram(models: Mapping[str, Sequence[float]], title: str) -> str:
    """How often scores from 0 to 1 are given, in ten bins."""
    width, height, bottom = 380.0, 170.0, 22.0
    counts = {
        name: [sum(min(9, int(value * 10)) == index for value in values) for index in range(10)]
        for name, values in models.items()
    }
    top = max((max(each) for each in counts.values()), default=0) or 1
    slot = (width - 10) / 10
    bar = (slot - 6) / max(1, len(counts))
    parts = []
    for order, (name, values) in enumerate(counts.items()):
        for index, value in enumerate(values):
            tall = (height - bottom - 12) * value / top
            x = 5 + slot * index + 3 + bar * order
            tip = html.escape(
                f"{name}: {value} answers from {index / 10:.1f} to {index / 10 + 0.1:.1f}"
            )
            parts.append(
                f'<rect x="{x:.1f}" y="{height - bottom - tall:.1f}" width="{bar:.1f}" '
                f'height="{tall:.1f}" rx="2" fill="{colour(order)}"><title>{tip}</title></rect>'
            )
    parts.append(line(5, height - bottom, width - 5, height - bottom, "axis"))
    for index in range(0, 11, 5):
        parts.append(text(5 + slot * index, height - 6, f"{index / 10:g}", "middle"))
    return svg(width, height, title, parts)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around a range, some four of them (P. S. Heckbert, Graphics Gems, 1990)."""
    rough = max(high - low, 1e-9, abs(high) * 1e-9) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 2.5, 5, 10) if each * power >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * each, 10) for each in range(first, max(last, first + 1) + 1)]


def _inside(low: float, high: float) -> list[float]:
    """Round numbers within a range."""
    return [each for each in _ticks(low, high) if low - 1e-9 <= each <= high + 1e-9]


def _thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most so many points, evenly taken."""
    if len(points) <= most:
        return list(points)
    return [points[index * len(points) // most] for index in range(most)]


def _robust(values: Sequence[float], always: Sequence[float]) -> tuple[float, float]:
    """A range that holds nearly all values, and all of `always`."""
    ordered = sorted(values) or [0.0]
    low, high = ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
    return min([low, *always]), max([high, *always])


def _cut(name: str, most: int = 26) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
