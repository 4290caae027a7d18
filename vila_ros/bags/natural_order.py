# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Order file names as people count: frame_9 before frame_10."""

from __future__ import annotations

import re
from pathlib import PurePath


def natural_order(path: PurePath | str) -> list[tuple[int, str]]:
    """A sort key in which runs of digits compare as numbers."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
