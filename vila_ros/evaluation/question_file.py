# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reads question files; docs/evaluation.md describes them. Every error names file and line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vila_ros.engine.json_schema import check_schema
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.evaluation.durations import parse_duration
from vila_ros.evaluation.expectation_file import read_expectation
from vila_ros.evaluation.plan import Schedule
from vila_ros.evaluation.types import (
    COMMON_METRICS,
    KINDS,
    METRICS,
    TIMING_METRICS,
    EvaluationQuestion,
    Expectation,
    QuestionFile,
    Threshold,
)
from vila_ros.evaluation.yaml_lines import Entry, read_yaml
from vila_ros.perception.questions import PerceiverDefaults, check_question
from vila_ros.perception.types import Sampling

VERSION = 1
_TOP = ("version", "title", "defaults", "questions", "thresholds")
_FIELDS = (
    "cameras", "window", "max_frames", "sampling", "max_tokens", "temperature", "system_prompt",
)  # fmt: skip
_SCHEDULE = ("every", "at")
_OWN = ("id", "ask", "recordings", "choices", "json_schema", "tolerance", *KINDS)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_THRESHOLD = re.compile(r"(\S+)\s+(\S+)\s*(<=|>=|<|>)\s*(\S+)(?:\s*(?:s|%|tokens/s))?")
_SAMPLINGS = ("latest", "uniform", "keyframes", "none")


def read_question_file(path: Path) -> QuestionFile:
    """Raises InvalidRequest."""
    entry = read_yaml(path)
    top = entry.mapping("a question file")
    _known(top, _TOP, "a question file")
    if "version" in top and top["version"].value != VERSION:
        top["version"].fail(f"version is {top['version'].shown}; this release reads {VERSION}")
    if "questions" not in top:
        entry.fail("there are no 'questions'")
    defaults = top["defaults"].mapping("defaults") if "defaults" in top else {}
    _known(defaults, (*_FIELDS, *_SCHEDULE), "defaults")
    questions: list[EvaluationQuestion] = []
    for each in top["questions"].items("questions"):
        question = _question(each, defaults, path.parent)
        same = next((other for other in questions if other.id == question.id), None)
        if same is not None:
            each.fail(f"the id '{question.id}' is that of line {same.line} as well")
        questions.append(question)
    if not questions:
        top["questions"].fail("there is no question")
    thresholds = top["thresholds"].items("thresholds") if "thresholds" in top else []
    return QuestionFile(
        name=path.name,
        title=top["title"].text("title") if "title" in top else path.stem.replace("_", " "),
        questions=tuple(questions),
        thresholds=tuple(_threshold(each, questions) for each in thresholds),
    )


def _question(entry: Entry, defaults: Mapping[str, Entry], folder: Path) -> EvaluationQuestion:
    own = entry.mapping("a question")
    _known(own, (*_OWN, *_FIELDS, *_SCHEDULE), "a question")
    for name in ("id", "ask"):
        if name not in own:
            entry.fail(f"the question has no '{name}'")
    name = own["id"].text("id")
    if not _ID.fullmatch(name) or name == "all":
        own["id"].fail(
            f"the id '{name}' must be letters, digits, '_', '.' and '-', at most 64, and not 'all'"
        )
    fields = _fields({**{k: v for k, v in defaults.items() if k in _FIELDS}, **own})
    fields["prompt"] = own["ask"].text("ask")
    if "choices" in own:
        fields["choices"] = [each.text("a choice") for each in own["choices"].items("choices")]
    if "json_schema" in own:
        fields["json_schema"] = _schema(own["json_schema"], folder)
    kinds = [kind for kind in KINDS if kind in own]
    if len(kinds) != 1:
        entry.fail(
            f"the question '{name}' needs one of {', '.join(KINDS)}, which says what is expected"
            + (f"; it has {' and '.join(kinds)}" if kinds else "")
        )
    expect = read_expectation(kinds[0], own, fields)
    schedule = _schedule(entry, own, defaults, expect)
    question = EvaluationQuestion(
        id=name,
        line=entry.line,
        fields=fields,
        schedule=schedule,
        expect=expect,
        recordings=tuple(each.text("a recording") for each in own["recordings"].items_or_one())
        if "recordings" in own
        else (),
    )
    _check(entry, question)
    return question


def _fields(own: Mapping[str, Entry]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "cameras" in own:
        fields["cameras"] = [each.text("a camera") for each in own["cameras"].items_or_one()]
    if "window" in own:
        fields["window"] = _duration(own["window"], "window")
    for name in ("max_frames", "max_tokens"):
        if name in own:
            value = own[name].number(name, 1, 1_000_000)
            if value != int(value):
                own[name].fail(f"{name} must be a whole number, not {value:g}")
            fields[name] = int(value)
    if "temperature" in own:
        fields["temperature"] = own["temperature"].number("temperature", 0, 2)
    if "system_prompt" in own:
        fields["system_prompt"] = own["system_prompt"].text("system_prompt")
    if "sampling" in own:
        sampling = own["sampling"].text("sampling")
        if sampling not in _SAMPLINGS:
            own["sampling"].fail(f"sampling is '{sampling}'; there are {', '.join(_SAMPLINGS)}")
        fields["sampling"] = sampling
    return fields


def _schedule(
    entry: Entry, own: Mapping[str, Entry], defaults: Mapping[str, Entry], expect: Expectation
) -> Schedule:
    labelled = [at for source in expect.sources.values() for _, at, _ in source.labels]
    if labelled:
        for name in _SCHEDULE:
            if name in own:
                own[name].fail(f"'{name}' is not needed: the labels say when to ask")
        return Schedule(at=tuple(labelled))
    if "every" in own and "at" in own:
        own["at"].fail("'every' and 'at' exclude each other")
    if "at" in own:
        return Schedule(at=tuple(_duration(each, "at") for each in own["at"].items_or_one()))
    every = own.get("every") or defaults.get("every")
    if every is None:
        entry.fail("when is it asked? Write 'every: 2s' or 'at: [1.5, 20]'")
    seconds = _duration(every, "every")
    if seconds < 0.001:
        every.fail("every must be at least 1ms")
    return Schedule(every=seconds)


def _schema(entry: Entry, folder: Path) -> str:
    """A schema that stands in the file, or in one beside it."""
    if isinstance(entry.value, dict):
        text = json.dumps(entry.plain())
    else:
        name = entry.text("json_schema")
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            entry.fail(f"the schema '{name}' must lie beside the question file")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            entry.fail(f"the schema '{name}' cannot be read: {error}")
    try:
        check_schema(text)
    except VilaError as error:
        entry.fail(error.message)
    return text


def _check(entry: Entry, question: EvaluationQuestion) -> None:
    """Hold a question against the robot's own limits, as far as these need no model."""
    from vila_ros.evaluation.plan import PlannedQuestion

    asked = PlannedQuestion(question.id, question.schedule, question.fields).question(0)
    cameras = asked.cameras or (() if asked.sampling is Sampling.NONE else ("camera",))
    try:
        check_question(asked, PerceiverDefaults(), cameras, None)
    except VilaError as error:
        entry.fail(error.message)


def _threshold(entry: Entry, questions: Collection[EvaluationQuestion]) -> Threshold:
    text = entry.text("a threshold")
    match = _THRESHOLD.fullmatch(text.strip())
    try:
        limit = float(match[4].rstrip("s%")) if match else None
    except ValueError:
        limit = None
    if match is None or limit is None:
        entry.fail(f"the threshold '{text}' is not 'QUESTION METRIC >= NUMBER'")
    if match[4].endswith("%") or text.strip().endswith("%"):
        limit /= 100
    name, metric = match[1], match[2]
    if name == "all":
        known: Collection[str] = {*COMMON_METRICS, *TIMING_METRICS}
    else:
        found = [each for each in questions if each.id == name]
        if not found:
            entry.fail(_unlike(f"there is no question '{name}'", name, [q.id for q in questions]))
        known = {*METRICS[found[0].expect.kind], *COMMON_METRICS, *TIMING_METRICS}
    if metric not in known:
        of = "all questions together have" if name == "all" else f"'{name}' has"
        entry.fail(_unlike(f"{of} no metric '{metric}'", metric, sorted(known)))
    return Threshold(name, metric, match[3], limit, text.strip(), entry.line)


def _duration(entry: Entry, name: str) -> float:
    try:
        return parse_duration(entry.text(name), name)
    except InvalidRequest as error:
        entry.fail(error.message)


def _known(own: Mapping[str, Entry], known: Collection[str], what: str) -> None:
    for name, entry in own.items():
        if name not in known:
            entry.fail(_unlike(f"{what} has no '{name}'", name, known))


def _unlike(problem: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"{problem}; did you mean '{near[0]}'?"
    return f"{problem}; there are {', '.join(known)}"
