# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which cameras a recording has, by the names that the node calls them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRequest
from vila_ros.perception.types import MessageKind

MAX_CAMERAS = 8
CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""What a camera may be called, as in the node's parameters (a test holds them equal)."""


@dataclass(frozen=True)
class RecordedCamera:
    """A camera of a recording, by the name that the node calls it."""

    name: str
    topic: str
    kind: MessageKind

    @property
    def argument(self) -> str:
        """The camera as `vila serve` and vila.launch.py take it."""
        kind = "compressed" if self.kind is MessageKind.COMPRESSED_IMAGE else "image"
        return f"{self.name}:={self.topic}:{kind}"


def recorded_cameras(recording: Recording) -> tuple[RecordedCamera, ...]:
    """The topics with images, named after what distinguishes them. Raises InvalidRequest."""
    kinds = {kind.value: kind for kind in MessageKind}
    topics = [
        name
        for name, topic in sorted(recording.topics.items())
        if topic.type in kinds and topic.count
    ]
    if not topics:
        held = ", ".join(f"{name} ({topic.type})" for name, topic in recording.topics.items())
        raise InvalidRequest(
            f"'{recording.path}' has no topic of sensor_msgs Image or CompressedImage; it has "
            f"{held or 'no messages'}."
        )
    names = _names(topics[:MAX_CAMERAS])
    return tuple(
        RecordedCamera(name, topic, kinds[recording.topics[topic].type])
        for name, topic in zip(names, topics, strict=False)
    )


def _names(topics: list[str]) -> list[str]:
    """A short name for each topic: its first word where these differ, else with a number."""
    words = [re.sub(r"[^A-Za-z0-9_]", "", topic.strip("/").split("/")[0])[:24] for topic in topics]
    names = []
    for number, word in enumerate(words, start=1):
        name = word if CAMERA_NAME.fullmatch(word) else f"camera{number}"
        names.append(f"{name}{number}" if words.count(word) > 1 else name)
    return names
