# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts of annotations, written by a model whose answers are held to CODA-LM's structure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vila_ros.annotation.asking import Interviewer
from vila_ros.annotation.cameras import Sight
from vila_ros.annotation.coda_lm import (
    CATEGORIES,
    GROUPS,
    SUMMARY,
    checked_annotation,
    empty_annotation,
)
from vila_ros.annotation.types import Draft, RawAnswer
from vila_ros.engine.interface import FinishReason
from vila_ros.engine.json_schema import validate_json
from vila_ros.errors import InvalidOutput, InvalidRequest, PromptTooLong

_GRID = 1000  # boxes are asked for in thousandths of the frame's width and height
_MARGIN = 0.2  # what a known box is shown with around it, as a part of its own size

GENERAL_PROMPT = (
    "You see the road through the camera of a vehicle. List what matters for driving, sorted into "
    "vehicles, vulnerable road users, traffic signs, traffic lights, traffic cones, barriers and "
    "other objects. Give each a short description (what it is, how it looks, where it is) and an "
    "explanation of why it affects how the vehicle should drive. Leave a list empty if there is "
    "nothing of its kind. Then describe and explain the whole scene in one or two sentences."
)
REGIONS_PROMPT = (
    "You see the road through the camera of a vehicle. Mark the objects that affect how the "
    f"vehicle should drive: left, top, right and bottom edge in thousandths (0 to {_GRID}) of the "
    "picture's width and height, the category, and why it matters."
)
REGION_PROMPT = (
    "This is a part of what a vehicle's camera sees; it shows: {category}. Describe it and explain "
    "why it affects how the vehicle should drive."
)
SUGGESTION_PROMPT = (
    "You see the road through the camera of a vehicle. Suggest in one or two sentences how it "
    "should drive now, and why."
)


@dataclass(frozen=True, slots=True)
class KnownBox:
    """Where something is known to be: [x, y, width, height] in pixels, and what it is."""

    box: tuple[float, float, float, float]
    category: str


@dataclass(frozen=True, slots=True)
class AnswerSize:
    """How much an answer may hold: entries of a list, characters of a text, tokens in all."""

    items: int
    characters: int
    max_tokens: int


SIZES = (AnswerSize(3, 240, 1024), AnswerSize(1, 60, 768))
"""What is asked for, and what after an answer that was too long."""


def draft_annotation(
    interviewer: Interviewer,
    sight: Sight,
    candidate_id: str,
    known: Sequence[KnownBox] = (),
    regions: bool = True,
    sizes: Sequence[AnswerSize] = SIZES,
) -> Draft:
    """What the model proposes for a frame.

    known: boxes to describe; without any the model marks some itself, unless regions is False.
    sizes: what answers may hold, one for each try. An answer that cannot be used leaves its part of
    the draft empty and is kept with its error; only errors that concern every frame (the engine is
    down, out of memory) are raised.
    """
    writer = _Writer(interviewer, sight, sizes)
    annotation = empty_annotation()
    general = writer.ask("general_perception", GENERAL_PROMPT, _general_schema)
    if general is not None:
        annotation["general_perception"] = general
    if known:
        annotation["region_perception"] = _described(writer, sight, known)
    elif regions:
        marked = writer.ask("region_perception", REGIONS_PROMPT, _regions_schema)
        annotation["region_perception"] = _marked(marked or {}, *sight.size)
    suggestion = writer.ask("driving_suggestion", SUGGESTION_PROMPT, _suggestion_schema)
    if suggestion is not None:
        annotation["driving_suggestion"] = suggestion["driving_suggestion"]
    capabilities = interviewer.capabilities
    return Draft(
        candidate_id,
        checked_annotation(annotation, *sight.size),
        interviewer.name,
        capabilities.runtime,
        tuple(writer.answers),
    )


class _Writer:
    """Asks for one part of a draft after the other and keeps the answers as they came."""

    def __init__(self, interviewer: Interviewer, sight: Sight, sizes: Sequence[AnswerSize]) -> None:
        self._interviewer = interviewer
        self._sight = sight
        self._sizes = sizes
        self.answers: list[RawAnswer] = []

    def ask(self, section: str, prompt: str, schema: Any, sight: Sight | None = None) -> Any:
        """The answer's JSON value, or None if there is none that can be used.

        schema: from an AnswerSize to a JSON schema. sight: what to show instead of the frame.
        """
        for size in self._sizes:
            wanted = json.dumps(schema(size))
            try:
                text, error = self._answer(prompt, wanted, size, sight or self._sight)
            except (PromptTooLong, InvalidRequest) as refused:
                # The context has no room for so long an answer; a shorter one may fit.
                text, error = "", refused.message
            self.answers.append(RawAnswer(section, prompt, text, error))
            if not error:
                return json.loads(text)
        return None

    def _answer(self, prompt: str, schema: str, size: AnswerSize, sight: Sight) -> tuple[str, str]:
        structured = self._interviewer.capabilities.structured_output
        text, last = self._interviewer.answer(
            sight,
            prompt if structured else f"{prompt}\nAnswer with JSON of this schema only: {schema}",
            json_schema=schema if structured else None,
            max_tokens=size.max_tokens,
        )
        if last.finish_reason is FinishReason.LENGTH:
            return text, f"cut at {size.max_tokens} tokens"
        try:
            validate_json(text, schema)
        except InvalidOutput as error:
            return text, error.message
        return text, ""


def _text(size: AnswerSize) -> dict[str, Any]:
    return {"type": "string", "maxLength": size.characters}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _general_schema(size: AnswerSize) -> dict[str, Any]:
    item = _object({"description": _text(size), "explanation": _text(size)})
    group = {"type": "array", "items": item, "maxItems": size.items}
    return _object({**dict.fromkeys(GROUPS, group), SUMMARY: _text(size)})


def _regions_schema(size: AnswerSize) -> dict[str, Any]:
    edge = {"type": "integer", "minimum": 0, "maximum": _GRID}
    region = _object(
        {
            "category_name": {"enum": list(CATEGORIES)},
            **dict.fromkeys(("left", "top", "right", "bottom"), edge),
            SUMMARY: _text(size),
        }
    )
    return _object({"regions": {"type": "array", "items": region, "maxItems": 2 * size.items}})


def _region_schema(size: AnswerSize) -> dict[str, Any]:
    return _object({SUMMARY: _text(size)})


def _suggestion_schema(size: AnswerSize) -> dict[str, Any]:
    return _object({"driving_suggestion": _text(size)})


def _marked(answer: Mapping[str, Any], width: int, height: int) -> dict[str, Any]:
    """Regions with boxes in pixels; those without an area are left out."""
    found = []
    for region in answer.get("regions", ()):
        left, right = region["left"] * width / _GRID, region["right"] * width / _GRID
        top, bottom = region["top"] * height / _GRID, region["bottom"] * height / _GRID
        if right - left >= 1 and bottom - top >= 1:
            found.append(
                {
                    SUMMARY: region[SUMMARY],
                    "box": [left, top, right - left, bottom - top],
                    "category_name": region["category_name"],
                }
            )
    return {str(number): region for number, region in enumerate(found, start=1)}


def _described(writer: _Writer, sight: Sight, known: Sequence[KnownBox]) -> dict[str, Any]:
    regions = {}
    for number, box in enumerate(known, start=1):
        prompt = REGION_PROMPT.format(category=box.category.replace("_", " "))
        part = _part_of(sight, box)
        told = writer.ask("region_perception", prompt, _region_schema, part) if part else None
        regions[str(number)] = {
            SUMMARY: told[SUMMARY] if told else "",
            "box": list(box.box),
            "category_name": box.category,
        }
    return regions


def _part_of(sight: Sight, known: KnownBox) -> Sight | None:
    """The part of the frame that shows a box, with some of its surroundings."""
    x, y, width, height = known.box
    across, down = _MARGIN * width, _MARGIN * height
    rows = slice(max(0, int(y - down)), int(y + height + down) + 1)
    columns = slice(max(0, int(x - across)), int(x + width + across) + 1)
    pixels = np.ascontiguousarray(sight.pixels[rows, columns])
    return replace(sight, pixels=pixels) if pixels.size else None
