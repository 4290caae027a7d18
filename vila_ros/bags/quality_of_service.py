# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The quality of service that rosbag2 recorded with a topic."""

from __future__ import annotations

from typing import Any

import yaml

_TRANSIENT_LOCAL = (1, "transient_local")  # rosbag2 metadata before and since version 9


def all_transient_local(profiles: str | list[Any] | None) -> bool:
    """Whether every recorded publisher of the topic offered durability transient local.

    profiles: YAML, or what YAML has become; anything unreadable counts as no.
    """
    if isinstance(profiles, str):
        try:
            profiles = yaml.safe_load(profiles)
        except yaml.YAMLError:
            return False
    if not isinstance(profiles, list) or not profiles:
        return False
    return all(
        isinstance(profile, dict) and profile.get("durability") in _TRANSIENT_LOCAL
        for profile in profiles
    )
