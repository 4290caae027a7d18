# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demonstration prints: aligned lines, colours and a live line only in a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any, TextIO

from vila_ros.errors import ErrorCode
from vila_ros.nodes.demo.client import Part
from vila_ros.nodes.demo.questions import DemoQuestion, nanoseconds
from vila_ros.nodes.demo.record import Answered, Described, Record
from vila_ros.perception.plain_text import plain

_LEVELS = (("ok", "32"), ("warn", "33"), ("error", "31"), ("off", "90"))
_STAGES = ("waiting", "decoding", "encoding", "answering")
# Of the values of /diagnostics, those that say how the demonstration went.
_TOLD = (
    "received",
    "dropped",
    "frames held",
    "answered",
    "failed",
    "restarts",
    "memory bytes",
    "published",
)
_LABEL = 12
_WIDEST = 100
_BAR = 24
_TOP_CHANCES = 4
_MOST_FRAMES = 4


class Screen:
    """Prints to a stream; every method but live() writes whole lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._colors = self._terminal and "NO_COLOR" not in os.environ
        self._live = ""
        self._began = time.monotonic()

    @property
    def width(self) -> int:
        """Columns to fill."""
        return min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns - 1)

    def color(self, text: str, code: str) -> str:
        """Text in an ANSI colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self._colors else text

    def line(self, text: str = "") -> None:
        """A whole line, above the live one."""
        live, self._live = self._live, ""
        if live:
            self._stream.write("\r\x1b[K")
        self._stream.write(text + "\n")
        if live:
            self.live(live)
        self._stream.flush()

    def live(self, text: str) -> None:
        """Replace the line at the bottom; nothing where the output is no terminal."""
        if self._terminal:
            self._live = text
            self._stream.write("\r\x1b[K" + text[: self.width])
            self._stream.flush()

    def title(self, text: str) -> None:
        """A headline."""
        self.line(self.color(text, "1"))
        self.line(self.color("─" * self.width, "90"))

    def entry(self, label: str, text: str, code: str = "") -> None:
        """A label and what belongs to it, wrapped behind it."""
        lines = _wrap(text, self.width - _LABEL - 2)
        for number, part in enumerate(lines):
            shown = label if number == 0 else ""
            self.line(
                "  "
                + self.color(f"{shown:{_LABEL}}", "90")
                + (self.color(part, code) if code else part)
            )

    def since_start(self) -> str:
        """Seconds since the demonstration began."""
        return f"{time.monotonic() - self._began:6.1f} s"

    def bar(self, done: float, text: str) -> None:
        """Replace the line at the bottom by a bar, filled to `done` of 1, and a text."""
        filled = round(min(max(done, 0.0), 1.0) * _BAR)
        self.live(f"  {'━' * filled}{'╌' * (_BAR - filled)}  {text}")

    def scene(self, description: Described) -> None:
        """A scene description, with the newest frame it is based on."""
        stamp = description.frames[-1][1] / 1e9 if description.frames else 0.0
        head = f"  {self.since_start()}  scene at {stamp:.3f}  "
        text = plain(description.text)
        room = self.width - len(head) - 2
        shown = text if len(text) <= room else text[: room - 1] + "…"
        self.line(self.color(head, "90") + f"“{shown}”")

    def question(self, question: DemoQuestion) -> None:
        """A question, and by what it is put."""
        self.line()
        way = self.color(f"   {question.way}", "90")
        self.line(self.color(f"▸ {question.prompt}", "1;36") + way)

    def progress(self, stage: int, text: str) -> None:
        """The answer while it grows."""
        name = _STAGES[stage] if stage < len(_STAGES) else str(stage)
        shown = plain(text)
        room = self.width - 16
        self.live(f"  {name:{_LABEL}}{'…' + shown[-room:] if len(shown) > room else shown}")

    def outcome(self, answered: Answered) -> None:
        """The answer with its frames and timings, and whether it is as it should be."""
        question, result = answered.question, answered.result
        self.live("")
        self._live = ""
        if result.error_code:
            code = ErrorCode(result.error_code)
            self.entry("error", f"{code.value} {code.name}: {plain(result.error_message)}", "33")
        else:
            self._answer(answered)
        if result.choice_probabilities:
            odds = zip(question.choices, result.choice_probabilities, strict=False)
            best = sorted(odds, key=lambda pair: -pair[1])[:_TOP_CHANCES]
            self.entry("chances", "  ".join(f"{word} {chance:.2f}" for word, chance in best))
        self._frames(result.frames)
        if not result.error_code:
            self.entry("cost", cost(result.stats))
        for fault in answered.faults:
            self.entry("WRONG", fault, "31")
        if not answered.faults and question.expected:
            self.entry("", f"{question.expected.name} is what this question is for", "32")

    def _answer(self, answered: Answered) -> None:
        """What it says, marked right or wrong where that is known."""
        question = answered.question
        said = answered.result.json if question.json_schema else answered.result.text
        text = f"“{plain(said)}”"
        if answered.right is None:
            self.entry("answer", text)
        elif answered.right:
            self.entry("answer", f"{text}  ✓ right", "32")
        else:
            self.entry("answer", f"{text}  ✗ true is: {question.answer}", "31")

    def _frames(self, frames: Sequence[Any]) -> None:
        """Which frames an answer is based on; of many the first and the last."""
        shown = list(frames) if len(frames) <= _MOST_FRAMES else [frames[0], frames[-1]]
        for number, frame in enumerate(shown):
            stamp = nanoseconds(frame.stamp)
            text = f"{frame.camera:8} {stamp // 10**9}.{stamp % 10**9:09d}  {frame.frame_id}"
            if number and len(shown) < len(frames):
                text += f"  and {len(frames) - 2} between"
            self.entry("" if number else "frames", text)

    def diagnostics(self, parts: list[Part]) -> None:
        """The node's own account."""
        width = max((len(part.name) for part in parts), default=0)
        for part in parts:
            word, code = _LEVELS[part.level] if part.level < len(_LEVELS) else ("?", "31")
            told = [_value(key, part.values[key]) for key in _TOLD if key in part.values]
            text = f"{part.message}{' (' if told else ''}{', '.join(told)}{')' if told else ''}"
            lines = _wrap(text, self.width - width - 11)
            self.line(f"  {self.color(f'{word:5}', code)}  {part.name:{width}}  {lines[0]}")
            for more in lines[1:]:
                self.line(f"{'':{width + 11}}{more}")


def _wrap(text: str, width: int) -> list[str]:
    """Lines of at most a width; names with hyphens stay whole."""
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _value(key: str, value: str) -> str:
    """A value of /diagnostics, bytes as megabytes."""
    name, _, unit = key.rpartition(" ")
    return f"{name} {int(value) / 1e6:.0f} MB" if unit == "bytes" else f"{key} {value}"


def verdict(record: Record) -> str:
    """How the demonstration ended, in a line."""
    asked = len(record.answered)
    if record.sound == asked:
        return f"✓ {asked} of {asked} questions ended as they should, with frames of the recording"
    return f"✗ {asked - record.sound} of {asked} questions did not end as they should, see above"


def cost(stats: Any) -> str:
    """What an answer took, of an InferenceStats."""
    rate = f", {stats.tokens_per_second:.0f} tokens/s" if stats.tokens_per_second else ""
    return (
        f"{stats.total_time * 1000:.0f} ms: first token after "
        f"{stats.time_to_first_token * 1000:.0f} ms, {stats.prompt_tokens} tokens in "
        f"({stats.image_tokens} of images), {stats.completion_tokens} out{rate}"
    )
