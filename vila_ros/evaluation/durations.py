# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Times as people write them."""

from __future__ import annotations

import math
import re

from vila_ros.errors import InvalidRequest

_UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(ms|s|min|h)?\s*")
MAX_SECONDS = 1e7


def parse_duration(text: str | float, name: str) -> float:
    """Seconds of "2s", "500 ms", "1.5 min", "1h" or a number of seconds.

    Raises InvalidRequest, calling the value by its name.
    """
    match = _DURATION.fullmatch(str(text))
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else math.nan
    if not 0 <= seconds <= MAX_SECONDS:
        raise InvalidRequest(
            f"{name} is {text}; write a time such as 2s, 500ms or 1.5min, at most {MAX_SECONDS:g}s."
        )
    return seconds
