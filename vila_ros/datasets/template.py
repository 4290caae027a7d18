# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The template language: questions and answers written once, filled in from a recording's topics.

    values:
      speed:    {topic: /speed, field: data, match: linear, max_gap: 0.2}
      steering: {type: std_msgs/msg/Float32, field: data}
    words:
      direction: [[-0.1, left], [0.1, straight], right]   # below -0.1, below 0.1, else
      gear: {0: parked, 1: forward}
    samples:
      - name: steering
        media: image             # image, images or video
        every: 0.5               # seconds; 0 takes every frame
        when: {speed: [0.5, 40]}
        question: ["Where does the vehicle steer?", "What does the steering do?"]
        answer: "{steering|direction}, at {speed:.1f} m/s"

Errors name the file and the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vila_ros.datasets.values import MATCHES, Value, ValueRule
from vila_ros.errors import InvalidRequest

MEDIA = ("image", "images", "video")
CATEGORIES = ("perception", "prediction", "planning", "behavior")
BUILT_IN = ("camera", "recording", "time")
MAX_FRAMES = 256
MEDIA_MARK = "<image>"
MAX_TEMPLATE_BYTES = 1 << 20
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)(?:([|:])([^{}]*))?\}")


class InvalidTemplate(InvalidRequest):
    """A template with an error; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said for a value: by limits (limits[i] is above all that words[i] says), or names."""

    limits: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    names: Mapping[Value, str] | None = None

    def of(self, value: Value) -> str | None:
        """The word for a value; None if there is none."""
        if self.names is not None:
            return self.names.get(value)
        if isinstance(value, str):
            return None
        index = next((i for i, limit in enumerate(self.limits) if value < limit), len(self.limits))
        return self.words[index]


@dataclass(frozen=True, slots=True)
class TurnTemplate:
    """A question, in one or several wordings, and its answer."""

    questions: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class SampleRule:
    """What samples are made of.

    media: image (one frame), images (several, where the question's <image> marks stand, else
    before it) or video. cameras: names, () for each camera of the recording. every: seconds, 0 for
    every frame. frames, over: how many frames of images and video, and over how many seconds; with
    over 0 one frame of each camera. when: limits [low, high] of values. category: DriveLM's.
    """

    name: str
    turns: tuple[TurnTemplate, ...]
    media: str = "image"
    cameras: tuple[str, ...] = ()
    every: float = 1.0
    frames: int = 1
    over: float = 0.0
    when: Mapping[str, tuple[float, float]] | None = None
    category: str = "perception"
    system: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A whole template file."""

    values: tuple[ValueRule, ...] = ()
    words: Mapping[str, Words] | None = None
    samples: tuple[SampleRule, ...] = ()

    def used_values(self, rule: SampleRule) -> tuple[str, ...]:
        """Names of the values that a rule's texts and conditions need."""
        texts = [text for turn in rule.turns for text in (*turn.questions, turn.answer)]
        names = {match[1] for text in texts for match in _PLACEHOLDER.finditer(text) if match[1]}
        return tuple(sorted((names | set(rule.when or ())) - set(BUILT_IN)))


def fill(text: str, values: Mapping[str, Value], words: Mapping[str, Words]) -> str | None:
    """A text with its placeholders filled; None where a value has no word."""
    missing = False

    def put(match: re.Match[str]) -> str:
        nonlocal missing
        if match[1] is None:
            return match[0][0]
        value = values[match[1]]
        if match[2] == "|":
            word = words[match[3]].of(value)
            missing = missing or word is None
            return word or ""
        return format(value, match[3] or "")

    filled = _PLACEHOLDER.sub(put, text)
    return None if missing else filled


def read_template_text(path: Path) -> str:
    """The text of a template's file. Raises InvalidTemplate."""
    try:
        size = path.stat().st_size
        if size > MAX_TEMPLATE_BYTES:
            raise InvalidTemplate(f"{path}: {size} bytes; a template has at most 1 MiB.")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidTemplate(f"{path}: cannot be read ({error}).") from error


def parse_template(text: str, name: str = "template") -> Template:
    """The template in a text. name: what errors call it. Raises InvalidTemplate."""
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or error
        raise InvalidTemplate(f"{name}{line}: {problem}.") from error
    return _Parser(name).template(data)


class _Lines(dict[Any, Any]):
    """A mapping that knows where it stands."""

    line = 1


class _Loader(yaml.SafeLoader):
    """YAML whose mappings know their lines."""


def _construct(loader: _Loader, node: yaml.MappingNode) -> _Lines:
    mapping = _Lines(loader.construct_mapping(node, deep=True))
    mapping.line = node.start_mark.line + 1
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct)


class _Parser:
    """Checks a template's data and builds it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fail(self, at: Any, problem: str) -> NoReturn:
        raise InvalidTemplate(f"{self.name}:{getattr(at, 'line', 1)}: {problem}")

    def mapping(self, at: Any, data: Any, what: str, known: set[str] | None = None) -> _Lines:
        if not isinstance(data, _Lines):
            self.fail(at, f"{what} is {data!r}; it must be a mapping.")
        unknown = sorted(map(str, set(data) - known)) if known is not None else []
        if unknown:
            self.fail(
                data, f"{what} has '{unknown[0]}'; known are {', '.join(sorted(known or ()))}."
            )
        return data

    def template(self, data: Any) -> Template:
        whole = self.mapping(None, data, "the template", {"values", "words", "samples"})
        values_at = self.mapping(whole, whole.get("values") or _Lines(), "values")
        values = tuple(self.value(values_at, str(name), rule) for name, rule in values_at.items())
        words_at = self.mapping(whole, whole.get("words") or _Lines(), "words")
        words = {str(name): self.words(words_at, str(name), w) for name, w in words_at.items()}
        rows = whole.get("samples")
        if not isinstance(rows, list) or not rows:
            self.fail(whole, "samples is missing; it must be a list of at least one rule.")
        samples = tuple(self.sample(whole, row) for row in rows)
        names = [rule.name for rule in samples]
        for row, name in zip(rows, names, strict=True):
            if names.count(name) > 1:
                self.fail(row, f"two samples are named '{name}'.")
        template = Template(values, words, samples)
        for row, rule in zip(rows, samples, strict=True):
            self.references(row, rule, template)
        return template

    def value(self, at: _Lines, name: str, data: Any) -> ValueRule:
        known = {"topic", "type", "field", "match", "max_gap"}
        rule = self.mapping(at, data, f"the value '{name}'", known)
        if not name.isidentifier() or name in BUILT_IN:
            self.fail(rule, f"'{name}' is no name for a value.")
        if bool(rule.get("topic")) == bool(rule.get("type")):
            self.fail(rule, f"the value '{name}' needs either a topic or a type.")
        if rule.get("match", "nearest") not in MATCHES:
            self.fail(rule, f"match is '{rule['match']}'; there are {', '.join(MATCHES)}.")
        gap = self.number(rule, "max_gap", 0.5, 0.0, 3600.0)
        return ValueRule(
            name,
            str(rule.get("topic") or ""),
            str(rule.get("type") or ""),
            str(rule.get("field", "data")),
            str(rule.get("match", "nearest")),
            gap,
        )

    def words(self, at: _Lines, name: str, data: Any) -> Words:
        if isinstance(data, _Lines):
            return Words(names={key: str(word) for key, word in data.items()})
        if not isinstance(data, list) or not data or isinstance(data[-1], list):
            self.fail(at, f"the words '{name}' must be [[limit, word], …, word] or a mapping.")
        limits, words = [], []
        for pair in data[:-1]:
            if not (isinstance(pair, list) and len(pair) == 2 and _is_number(pair[0])):
                self.fail(at, f"the words '{name}' hold {pair!r}; there it must be [limit, word].")
            limits.append(float(pair[0]))
            words.append(str(pair[1]))
        if limits != sorted(set(limits)):
            self.fail(at, f"the limits of the words '{name}' are {limits}; they must rise.")
        return Words(tuple(limits), (*words, str(data[-1])))

    def sample(self, at: _Lines, data: Any) -> SampleRule:
        known = {"name", "media", "cameras", "every", "frames", "over", "when", "question"}
        known |= {"answer", "turns", "category", "system"}
        row = self.mapping(at, data, "a sample", known)
        name = str(row.get("name", ""))
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            self.fail(row, f"the sample's name is '{name}'; use letters, digits, _ and -.")
        media = row.get("media", "image")
        if media not in MEDIA:
            self.fail(row, f"media is '{media}'; there are {', '.join(MEDIA)}.")
        category = row.get("category", "perception")
        if category not in CATEGORIES:
            self.fail(row, f"category is '{category}'; there are {', '.join(CATEGORIES)}.")
        frames = self.number(row, "frames", 1 if media == "image" else 4, 1, MAX_FRAMES)
        if frames != int(frames) or (media == "image" and frames != 1):
            self.fail(row, f"frames is {frames:g}; a sample of media {media} has a whole number"
                           f"{', 1' if media == 'image' else ''}.")  # fmt: skip
        every = self.number(row, "every", 1.0, 0.0, 86400.0)
        over = self.number(row, "over", 2.0 if media == "video" else 0.0, 0.0, 600.0)
        if media != "image" and every == 0:
            self.fail(row, f"every is 0; media {media} needs seconds between its samples.")
        if media == "video" and (over == 0 or frames < 2):
            self.fail(row, "a video needs at least 2 frames over more than 0 seconds.")
        turns = row.get("turns")
        if (turns is None) == ("question" not in row) or (turns is not None and not turns):
            self.fail(row, "a sample needs a question and an answer, or turns with them.")
        pairs = turns if isinstance(turns, list) else [row]
        return SampleRule(
            name,
            tuple(self.turn(row, pair) for pair in pairs),
            media,
            tuple(map(str, self.listed(row.get("cameras")))),
            every,
            int(frames),
            over,
            {str(key): self.limits(row, str(key), pair) for key, pair in
             self.mapping(row, row.get("when") or _Lines(), "when").items()},
            category,
            str(row.get("system") or ""),
        )  # fmt: skip

    def turn(self, row: _Lines, data: Any) -> TurnTemplate:
        pair = data if data is row else self.mapping(row, data, "a turn", {"question", "answer"})
        questions = tuple(map(str, self.listed(pair.get("question"))))
        answer = pair.get("answer")
        if not questions or not all(question.strip() for question in questions):
            self.fail(pair, "the question is empty.")
        if answer is None or not str(answer).strip():
            self.fail(pair, "the answer is missing.")
        if MEDIA_MARK in str(answer):
            self.fail(pair, f"the answer holds {MEDIA_MARK}; media stand in questions.")
        return TurnTemplate(questions, str(answer))

    def references(self, row: _Lines, rule: SampleRule, template: Template) -> None:
        """Fail for a text that names a value or words that are not there, or too many images."""
        values = {value.name for value in template.values} | set(BUILT_IN)
        for name in rule.when or ():
            if name not in values:
                self.fail(row, f"when names the value '{name}', which is not under values.")
        texts = [text for turn in rule.turns for text in (*turn.questions, turn.answer)]
        for text in texts:
            rest = _PLACEHOLDER.sub("", text)
            if "{" in rest or "}" in rest:
                self.fail(row, f"'{text}' has a brace without its partner; write {{{{ for one.")
            for match in _PLACEHOLDER.finditer(text):
                if match[1] and match[1] not in values:
                    self.fail(row, f"'{text}' names the value '{match[1]}', not under values.")
                if match[2] == "|" and match[3] not in (template.words or {}):
                    self.fail(row, f"'{text}' names the words '{match[3]}', not under words.")
                if match[2] == ":":
                    self.format(row, text, match[3])
        marks = [sum(text.count(MEDIA_MARK) for text in texts_of) for texts_of in _wordings(rule)]
        if any(marks) and rule.media != "images":
            self.fail(row, f"{MEDIA_MARK} marks stand in questions of media images alone.")
        if len(set(marks)) > 1:
            self.fail(row, f"the wordings of a question differ in their number of {MEDIA_MARK}.")

    def format(self, row: _Lines, text: str, spec: str) -> None:
        for example in (1.0, 1, "a"):
            try:
                format(example, spec)
                return
            except ValueError:
                continue
        self.fail(row, f"'{text}' has the format '{spec}', which fits neither numbers nor text.")

    def limits(self, row: _Lines, name: str, pair: Any) -> tuple[float, float]:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))):
            self.fail(row, f"when.{name} is {pair!r}; it must be [low, high].")
        return float(pair[0]), float(pair[1])

    def listed(self, data: Any) -> list[Any]:
        return data if isinstance(data, list) else [] if data is None else [data]

    def number(self, row: _Lines, key: str, default: float, low: float, high: float) -> float:
        value = row.get(key, default)
        if not _is_number(value) or not low <= value <= high:
            self.fail(row, f"{key} is {value!r}; it must be a number from {low:g} to {high:g}.")
        return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wordings(rule: SampleRule) -> list[list[str]]:
    """Each way to word the rule's questions: the first of all, then one changed at a time."""
    first = [turn.questions[0] for turn in rule.turns]
    changed = [
        [*first[:index], question, *first[index + 1 :]]
        for index, turn in enumerate(rule.turns)
        for question in turn.questions[1:]
    ]
    return [first, *changed]
