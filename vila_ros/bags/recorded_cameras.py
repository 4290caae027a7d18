# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The cameras of a recording: which topics hold pictures, and what each camera is called.

The same names everywhere: what a node, an evaluation or an annotation calls a camera is what an
export finds it by.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vila_ros.bags.free_name import free_name
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRequest
from vila_ros.perception.types import MessageKind

MAX_CAMERAS = 8
CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""What a camera may be called, here and in the node's parameters."""
IMAGE_KINDS: Mapping[str, MessageKind] = {kind.value: kind for kind in MessageKind}
"""The kinds of images by the type of their topics."""

_LONGEST = 32
# What image pipelines append to a camera's namespace (image_transport, image_pipeline).
_ENDINGS = re.compile(
    r"(/compressed|/image_raw|/image_rect_color|/image_rect|/image_color|/image_mono|/image)+$"
)
_DEPTH = re.compile(r"/compressedDepth$|(^|[/_])depth([/_]|$)|/zstd$|/theora$")


@dataclass(frozen=True, slots=True)
class RecordedCamera:
    """A camera of a recording. name: as CAMERA_NAME, such as "front"; also used for files."""

    name: str
    topic: str
    kind: MessageKind

    @property
    def argument(self) -> str:
        """The camera as `vila serve` and vila.launch.py take it."""
        kind = "compressed" if self.kind is MessageKind.COMPRESSED_IMAGE else "image"
        return f"{self.name}:={self.topic}:{kind}"


def recorded_cameras(recording: Recording) -> tuple[RecordedCamera, ...]:
    """The cameras, in the order of their topics; of each one topic, see one_topic_each().

    Raises InvalidRequest for a recording without any.
    """
    return one_topic_each(image_topics(recording))


def watched_cameras(recording: Recording) -> tuple[RecordedCamera, ...]:
    """Those that a node watches: the first MAX_CAMERAS. Raises as recorded_cameras() does."""
    return recorded_cameras(recording)[:MAX_CAMERAS]


def image_topics(recording: Recording) -> tuple[RecordedCamera, ...]:
    """Every topic with images under its camera's name, in the order of topics.

    A camera may have several, as raw and compressed images. Depth images, which no model is asked
    about, are left out where there are others. Raises InvalidRequest where there are none.
    """
    every = [
        name
        for name, topic in sorted(recording.topics.items())
        if topic.type in IMAGE_KINDS and topic.count
    ]
    if not every:
        held = ", ".join(f"{name} ({topic.type})" for name, topic in recording.topics.items())
        raise InvalidRequest(
            f"'{recording.path}' has no topic of sensor_msgs Image or CompressedImage; it has "
            f"{held or 'no messages'}."
        )
    topics = [topic for topic in every if not _DEPTH.search(topic)] or every
    names = _names(topics)
    return tuple(
        RecordedCamera(names[_namespace(topic)], topic, IMAGE_KINDS[recording.topics[topic].type])
        for topic in topics
    )


def one_topic_each(cameras: Iterable[RecordedCamera]) -> tuple[RecordedCamera, ...]:
    """One topic of each camera, in their order: a compressed one, whose pictures can be copied as
    they are, rather than a raw one; of several the last."""
    chosen: dict[str, RecordedCamera] = {}
    for camera in cameras:
        before = chosen.get(camera.name)
        if before is None or camera.kind is before.kind or _is_compressed(camera):
            chosen[camera.name] = camera
    return tuple(sorted(chosen.values(), key=lambda camera: camera.topic))


def camera_of_topic(recording: Recording, topic: str, name: str) -> RecordedCamera | None:
    """A topic as the camera of that name; None where the recording has no images of it."""
    held = recording.topics.get(topic)
    if held is None or held.type not in IMAGE_KINDS:
        return None
    return RecordedCamera(name, topic, IMAGE_KINDS[held.type])


def camera_name(topic: str) -> str:
    """A topic's camera by its namespace: "/front/image_raw/compressed" is "front".

    Of a long namespace the last words.
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", _namespace(topic).strip("/")) or "camera"
    while len(name) > _LONGEST and "_" in name:
        name = name.partition("_")[2]
    name = name[-_LONGEST:]
    return name if CAMERA_NAME.fullmatch(name) else f"camera{name}"[:_LONGEST]


def listed(cameras: Iterable[RecordedCamera]) -> str:
    """Cameras for an error's text, as "front (/front/image_raw), rear (/rear/image_raw)"."""
    return ", ".join(f"{camera.name} ({camera.topic})" for camera in cameras)


def _is_compressed(camera: RecordedCamera) -> bool:
    return camera.kind is MessageKind.COMPRESSED_IMAGE


def _namespace(topic: str) -> str:
    """What all topics of a camera begin with."""
    return _ENDINGS.sub("", topic) or "/" + topic.strip("/").partition("/")[0]


def _names(topics: Collection[str]) -> dict[str, str]:
    """A name for each namespace; those that would be called the same are numbered."""
    names: dict[str, str] = {}
    for topic in topics:
        namespace = _namespace(topic)
        if namespace in names:
            continue
        names[namespace] = free_name(camera_name(topic), names.values(), _LONGEST)
    return names
