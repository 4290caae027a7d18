# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cameras of a recording: which topics hold pictures, and what each camera is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vila_ros.bags.recording import Recording
from vila_ros.errors import InvalidRequest
from vila_ros.perception.types import MessageKind

# What image pipelines append to a camera's namespace (image_transport, image_pipeline).
_ENDINGS = re.compile(
    r"(/compressed|/image_raw|/image_rect_color|/image_rect|/image_color|/image_mono|/image)+$"
)
_DEPTH = re.compile(r"/compressedDepth$|(^|[/_])depth([/_]|$)|/zstd$|/theora$")
_KINDS = {kind.value: kind for kind in MessageKind}
IMAGE_TYPES = frozenset(_KINDS)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of a recording. name: letters, digits and underscores, also used for files."""

    name: str
    topic: str
    kind: MessageKind


def camera_name(topic: str) -> str:
    """The name of a topic's camera: its namespace, "/front/image_raw/compressed" is "front"."""
    namespace = _ENDINGS.sub("", topic).strip("/") or topic.strip("/")
    return re.sub(r"[^A-Za-z0-9_]+", "_", namespace) or "camera"


def cameras_of(recording: Recording, wanted: Sequence[str] = ()) -> tuple[Camera, ...]:
    """The cameras, by name, or those wanted, in the order they are named.

    wanted: names, topics, or NAME=TOPIC to give a topic a name. Where a camera was recorded both
    raw and compressed, the compressed topic is taken, for its pictures are copied as they are.
    Raises InvalidRequest for one that is not there, and for a recording without any.
    """
    found = [
        Camera(camera_name(topic), topic, _KINDS[about.type])
        for topic, about in sorted(recording.topics.items())
        if about.type in _KINDS and not _DEPTH.search(topic)
    ]
    if not found:
        raise InvalidRequest(
            f"'{recording.path}' has no camera: no topic of {' or '.join(_KINDS)}; it has "
            f"{', '.join(sorted(recording.topics)) or 'no topic'}."
        )
    if wanted:
        return tuple(_named(recording, found, text) for text in wanted)
    by_name: dict[str, Camera] = {}
    for camera in found:
        if camera.kind is MessageKind.COMPRESSED_IMAGE or camera.name not in by_name:
            by_name[camera.name] = camera
    return tuple(by_name[name] for name in sorted(by_name))


def _named(recording: Recording, found: list[Camera], text: str) -> Camera:
    name, is_renamed, topic = text.rpartition("=")
    matches = [camera for camera in found if topic in (camera.topic, camera.name)]
    # Of a camera's raw and compressed topics the compressed one.
    matches.sort(key=lambda camera: camera.kind is not MessageKind.COMPRESSED_IMAGE)
    if not matches:
        known = ", ".join(f"{camera.name} ({camera.topic})" for camera in found)
        raise InvalidRequest(f"'{recording.path}' has no camera '{topic}'; it has {known}.")
    if is_renamed and not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise InvalidRequest(
            f"The camera name '{name}' of '{text}' has more than letters, digits and underscores."
        )
    chosen = matches[0]
    return Camera(name or chosen.name, chosen.topic, chosen.kind)
