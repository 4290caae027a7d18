# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which of a recording's cameras are exported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from vila_ros.bags.recorded_cameras import (
    RecordedCamera,
    image_topics,
    listed,
    one_topic_each,
)
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRequest


def exported_cameras(
    recording: Recording, wanted: Sequence[str] = ()
) -> tuple[RecordedCamera, ...]:
    """The cameras in the order of their topics, or those wanted, in the order they are named.

    wanted: names, topics, or NAME=TOPIC to give a topic a name. Raises InvalidRequest for one that
    is not there, and for a recording without any.
    """
    found = image_topics(recording)
    if wanted:
        return tuple(_named(recording, found, text) for text in wanted)
    return one_topic_each(found)


def _named(recording: Recording, found: Sequence[RecordedCamera], text: str) -> RecordedCamera:
    name, is_renamed, topic = text.rpartition("=")
    matches = one_topic_each(each for each in found if topic in (each.topic, each.name))
    if not matches:
        raise InvalidRequest(f"'{recording.path}' has no camera '{topic}'; it has {listed(found)}.")
    if is_renamed and not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise InvalidRequest(
            f"The camera name '{name}' of '{text}' has more than letters, digits and underscores."
        )
    return replace(matches[0], name=name) if name else matches[0]
