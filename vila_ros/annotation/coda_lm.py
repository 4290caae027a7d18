# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The structure of an annotation, which is CODA-LM's (arXiv:2404.10595): what it may hold.

    {"general_perception": {"vehicles": [{"description": …, "explanation": …}, …], …,
                            "description and explanation": "…"},
     "region_perception": {"1": {"description and explanation": …, "box": [x, y, width, height],
                                 "category_name": …}, …},
     "driving_suggestion": "…"}

Boxes are in pixels of the frame, x and y of the upper left corner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vila_ros.errors import InvalidRequest

GROUPS = (
    "vehicles",
    "vulnerable_road_users",
    "traffic signs",
    "traffic lights",
    "traffic cones",
    "barriers",
    "other objects",
)
"""The kinds of things that the general perception lists."""

SUMMARY = "description and explanation"
"""Its text about the whole scene; a region's text has the same name."""

# CODA's classes (arXiv:2203.07724), and those that robots of other kinds meet.
CATEGORIES = (
    "car", "truck", "bus", "tram", "motorcycle", "bicycle", "tricycle", "cyclist", "pedestrian",
    "stroller", "wheelchair", "dog", "animal", "traffic_sign", "traffic_light", "traffic_cone",
    "traffic_island", "barrier", "bollard", "warning_sign", "traffic_box", "construction_vehicle",
    "machinery", "debris", "dustbin", "suitcase", "concrete_block", "plastic_bag", "chair",
    "phone_booth", "sentry_box", "basket", "cardboard", "misc",
)  # fmt: skip

MAX_REGIONS = 200
MAX_ITEMS = 100
MAX_TEXT = 8000
"""Characters of one text of an annotation."""


def empty_annotation() -> dict[str, Any]:
    """An annotation that says nothing yet."""
    general: dict[str, Any] = {group: [] for group in GROUPS}
    general[SUMMARY] = ""
    return {"general_perception": general, "region_perception": {}, "driving_suggestion": ""}


def checked_annotation(value: Any, width: int, height: int) -> dict[str, Any]:
    """The annotation in its canonical form: every group there, regions numbered from "1".

    width, height: of the frame, pixels; boxes are held to it and to two decimals. Raises
    InvalidRequest that names the place, the value and what is expected there.
    """
    whole = _mapping(value, "the annotation", {*empty_annotation()})
    general = _mapping(
        whole.get("general_perception", {}), "general_perception", {*GROUPS, SUMMARY}
    )
    found: dict[str, Any] = {
        group: _items(general.get(group, []), f"general_perception.{group}") for group in GROUPS
    }
    found[SUMMARY] = _text(general.get(SUMMARY, ""), f"general_perception.{SUMMARY}")
    regions = _mapping(whole.get("region_perception", {}), "region_perception", None)
    if len(regions) > MAX_REGIONS:
        raise InvalidRequest(f"region_perception has {len(regions)} boxes; at most {MAX_REGIONS}")
    numbered = {
        str(number): _region(region, f"region_perception.{name}", width, height)
        for number, (name, region) in enumerate(regions.items(), start=1)
    }
    suggestion = _text(whole.get("driving_suggestion", ""), "driving_suggestion")
    return {
        "general_perception": found,
        "region_perception": numbered,
        "driving_suggestion": suggestion,
    }


def _items(value: Any, place: str) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{place} is {_shown(value)}; it must be a list")
    if len(value) > MAX_ITEMS:
        raise InvalidRequest(f"{place} has {len(value)} entries; at most {MAX_ITEMS}")
    items = []
    for index, item in enumerate(value):
        where = f"{place}[{index}]"
        fields = _mapping(item, where, {"description", "explanation"})
        items.append(
            {
                name: _text(fields.get(name, ""), f"{where}.{name}")
                for name in ("description", "explanation")
            }
        )
    return items


def _region(value: Any, place: str, width: int, height: int) -> dict[str, Any]:
    region = _mapping(value, place, {SUMMARY, "box", "category_name"})
    return {
        SUMMARY: _text(region.get(SUMMARY, ""), f"{place}.{SUMMARY}"),
        "box": _box(region.get("box"), f"{place}.box", width, height),
        "category_name": _text(region.get("category_name", ""), f"{place}.category_name"),
    }


def _box(value: Any, place: str, width: int, height: int) -> list[float]:
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != 4 or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in numbers
    ):
        raise InvalidRequest(f"{place} is {_shown(value)}; it must be [x, y, width, height]")
    left, top = max(0.0, min(numbers[0], width)), max(0.0, min(numbers[1], height))
    right = max(0.0, min(numbers[0] + numbers[2], width))
    bottom = max(0.0, min(numbers[1] + numbers[3], height))
    if right - left < 1 or bottom - top < 1:
        raise InvalidRequest(
            f"{place} is {_shown(value)}; it must cover at least 1x1 pixels of the {width}x{height}"
            " frame"
        )
    return [_number(edge) for edge in (left, top, right - left, bottom - top)]


def _number(value: float) -> float | int:
    rounded = round(float(value), 2)
    return int(rounded) if rounded.is_integer() else rounded


def _mapping(value: Any, place: str, allowed: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{place} is {_shown(value)}; it must be an object")
    for name in value:
        if allowed is not None and name not in allowed:
            raise InvalidRequest(
                f"{place} has {_shown(name)}; it may have {', '.join(sorted(allowed))}"
            )
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequest(f"{place} is {_shown(value)}; it must be text")
    if len(value) > MAX_TEXT:
        raise InvalidRequest(f"{place} has {len(value)} characters; at most {MAX_TEXT}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"
