# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration as one HTML file: pictures, questions, answers, timings. No script, no network.

All that a recording or a model says is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vila_ros.errors import ErrorCode, VilaError
from vila_ros.nodes.demo.material import EMBEDDED_NOTE, Material
from vila_ros.nodes.demo.page_style import STYLE
from vila_ros.nodes.demo.pictures import small_pictures
from vila_ros.nodes.demo.record import Answered, Described, FrameKey, Record
from vila_ros.nodes.demo.screen import cost, verdict
from vila_ros.perception.plain_text import plain

_LEVELS = ("ok", "warn", "error", "off")
_MOST_DESCRIPTIONS = 12
_STRIP = 12
_TOP_CHANCES = 4


class PageNotWritten(VilaError):
    """The page's file cannot be written."""


def write_page(path: Path, material: Material, record: Record) -> Path:
    """Write the page, whole or not at all; returns where it is. Raises PageNotWritten."""
    pictures = small_pictures(material, _wanted(material, record))
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(render(material, record, pictures), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise PageNotWritten(
            f"The page {path} cannot be written: {error.strerror or error}; name another by --page."
        ) from None
    return path.resolve()


def render(material: Material, record: Record, pictures: Mapping[FrameKey, bytes]) -> str:
    """The page's HTML."""
    begin = min((stamp for _, stamp in material.frames), default=0)
    show = _Pictures(pictures, begin)
    parts = [
        _head(material, record),
        _strip(material, show),
        _section("Questions", [_answer(each, show) for each in record.answered], "cards"),
        _section(
            "What it described meanwhile",
            [_description(each, show) for each in _spread(record.described, _MOST_DESCRIPTIONS)],
            "notes",
        ),
        _diagnostics(record),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>VILA on ROS 2</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


class _Pictures:
    """Frames as figures, each with its time in the recording."""

    def __init__(self, pictures: Mapping[FrameKey, bytes], begin_ns: int) -> None:
        self._pictures = pictures
        self._begin = begin_ns

    def at(self, stamp: int) -> str:
        """Seconds since the recording's beginning."""
        return f"{(stamp - self._begin) / 1e9:.1f} s"

    def figure(self, key: FrameKey) -> str:
        """A frame with its time below."""
        camera, stamp = key
        said = escape(f"{camera} at {self.at(stamp)}", quote=True)
        data = self._pictures.get(key)
        image = '<span class="missing">no picture</span>'
        if data is not None:
            url = "data:image/jpeg;base64," + base64.b64encode(data).decode()
            image = f'<img src="{url}" alt="{said}">'
        caption = f"{escape(camera)} · {self.at(stamp)}"
        return f'<figure title="{stamp}">{image}<figcaption>{caption}</figcaption></figure>'


def _wanted(material: Material, record: Record) -> set[FrameKey]:
    used = {key for each in record.answered for key in each.frames}
    used |= {key for each in record.described for key in each.frames[-1:]}
    return used | set(_spread(sorted(material.frames), _STRIP))


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the items, evenly chosen, the last one among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _head(material: Material, record: Record) -> str:
    facts = [
        ("recording", _recording(material)),
        ("model", Path(material.model).name or material.model),
        ("descriptions", str(len(record.described))),
    ]
    if times := sorted(
        each.result.stats.total_time for each in record.answered if not each.result.error_code
    ):
        facts.append(("median answer", f"{times[len(times) // 2] * 1000:.0f} ms"))
    shown = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    score = ""
    if record.known:
        score = (
            f'<p class="score"><b>{record.right}</b> of {record.known} answers right'
            f'<span class="meter"><i style="width:{100 * record.right / record.known:.0f}%"></i>'
            "</span></p>"
        )
    note = f'<p class="model">{escape(EMBEDDED_NOTE)}</p>' if material.embedded else ""
    return (
        "<header><h1>VILA on ROS 2</h1>"
        "<p>A recording was replayed through the perception node over DDS, and the node was asked "
        f"about what its camera saw.</p>{score}<dl>{shown}</dl>"
        f'<p class="verdict">{escape(verdict(record))}</p>{note}</header>\n'
    )


def _recording(material: Material) -> str:
    what = material.recording.path.name
    if material.seed is not None:
        what = f"simulated drive, seed {material.seed}"
    return f"{what}, {material.seconds:.1f} s, {len(material.frames)} frames"


def _strip(material: Material, show: _Pictures) -> str:
    figures = "".join(show.figure(key) for key in _spread(sorted(material.frames), _STRIP))
    return f'<section><h2>The recording</h2><div class="strip">{figures}</div></section>\n'


def _section(title: str, items: Sequence[str], kind: str) -> str:
    if not items:
        return ""
    return f'<section><h2>{title}</h2><div class="{kind}">{"".join(items)}</div></section>\n'


def _answer(each: Answered, show: _Pictures) -> str:
    result, question = each.result, each.question
    state, badge = _badge(each)
    if result.error_code:
        code = ErrorCode(result.error_code)
        said = f"{code.value} {code.name}: {plain(result.error_message)}"
    else:
        said = plain(result.json if question.json_schema else result.text)
    lines = [f'<p class="said">{escape(said)}</p>']
    if each.right is False:
        lines.append(f'<p class="truth">true is: {escape(question.answer)}</p>')
    lines += [f'<p class="fault">{escape(fault)}</p>' for fault in each.faults]
    if result.choice_probabilities:
        lines.append(_chances(question.choices, result.choice_probabilities))
    if each.frames:
        figures = "".join(show.figure(key) for key in each.frames)
        lines.append(f'<div class="film">{figures}</div>')
    if not result.error_code:
        lines.append(_times(result.stats))
    return (
        f'<article class="{state}"><header><h3>{escape(question.prompt)}</h3>'
        f'<span class="badge">{badge}</span></header>'
        f'<p class="way">{escape(question.way)}{_form(each)}</p>{"".join(lines)}</article>'
    )


def _badge(each: Answered) -> tuple[str, str]:
    if each.faults:
        return "bad", "fault"
    if each.question.expected:
        return "plain", "refused, as it should be"
    if each.right is None:
        return "plain", "answered"
    return ("good", "right") if each.right else ("bad", "wrong")


def _form(each: Answered) -> str:
    if each.question.json_schema:
        return " · JSON by a schema"
    return f" · one of {len(each.question.choices)}" if each.question.choices else ""


def _chances(choices: Sequence[str], chances: Sequence[float]) -> str:
    ranked = sorted(zip(choices, chances, strict=False), key=lambda pair: -pair[1])
    rows = "".join(
        f'<li><span>{escape(word)}</span><span class="meter"><i style="width:{100 * chance:.0f}%">'
        f"</i></span><span>{100 * chance:.0f} %</span></li>"
        for word, chance in ranked[:_TOP_CHANCES]
    )
    return f'<ul class="chances">{rows}</ul>'


def _times(stats: Any) -> str:
    """How long it took, as a bar: before the engine, to the first token, to the last."""
    total = max(stats.total_time, 1e-6)
    first = min(max(stats.time_to_first_token, stats.queue_time), total)
    spans = (
        ("wait", "waiting and decoding", stats.queue_time),
        ("look", "until the first token", first - stats.queue_time),
        ("say", "until the last token", total - first),
    )
    bar = "".join(
        f'<i class="{name}" title="{says}: {seconds * 1000:.0f} ms" '
        f'style="width:{100 * max(seconds, 0.0) / total:.1f}%"></i>'
        for name, says, seconds in spans
    )
    return (
        f'<div class="times"><span class="bar">{bar}</span><span>{escape(cost(stats))}</span></div>'
    )


def _description(each: Described, show: _Pictures) -> str:
    figure = show.figure(each.frames[-1]) if each.frames else ""
    truth = f'<p class="truth">true is: {escape(each.truth)}</p>' if each.truth else ""
    return (
        f'<article>{figure}<div><p class="said">{escape(plain(each.text))}</p>{truth}'
        f'<p class="way">{len(each.frames)} frames, {each.total_time * 1000:.0f} ms</p></div>'
        "</article>"
    )


def _diagnostics(record: Record) -> str:
    rows = "".join(
        f'<tr><td class="{_level(part.level)}">{_level(part.level)}</td>'
        f"<td>{escape(part.name)}</td><td>{escape(part.message)}</td></tr>"
        for part in record.diagnostics
    )
    if not rows:
        return ""
    return (
        '<section><h2>What the node said of itself</h2><div class="table"><table>'
        f"{rows}</table></div></section>\n"
    )


def _level(level: int) -> str:
    return _LEVELS[level] if level < len(_LEVELS) else "error"
