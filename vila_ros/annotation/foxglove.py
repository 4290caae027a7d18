# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Annotations as foxglove_msgs/ImageAnnotations, which Foxglove draws over the images.

The recording carries the messages' definition, so that nothing needs to be installed to read it.
Each annotation has the stamp of its image, by which the two are shown together: over the images of
the recording that it was made from, or over those that are written beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vila_ros.annotation.coda_lm import SUMMARY
from vila_ros.annotation.types import ReviewedAnnotation
from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    image_format,
    serialize_compressed_image,
)
from vila_ros.bags.serialization import serialize, typestore_with
from vila_ros.bags.writer import BagWriter

IMAGE_ANNOTATIONS = "foxglove_msgs/msg/ImageAnnotations"
_LINE_LOOP = 2  # PointsAnnotation.LINE_LOOP
_RULE = "=" * 80

# Field names and their order are those of foxglove_msgs.
DEFINITION = f"""\
foxglove_msgs/CircleAnnotation[] circles
foxglove_msgs/PointsAnnotation[] points
foxglove_msgs/TextAnnotation[] texts
{_RULE}
MSG: foxglove_msgs/CircleAnnotation
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
float64 diameter
float64 thickness
foxglove_msgs/Color fill_color
foxglove_msgs/Color outline_color
{_RULE}
MSG: foxglove_msgs/PointsAnnotation
uint8 UNKNOWN=0
uint8 POINTS=1
uint8 LINE_LOOP=2
uint8 LINE_STRIP=3
uint8 LINE_LIST=4
builtin_interfaces/Time timestamp
uint8 type
foxglove_msgs/Point2[] points
foxglove_msgs/Color outline_color
foxglove_msgs/Color[] outline_colors
foxglove_msgs/Color fill_color
float64 thickness
{_RULE}
MSG: foxglove_msgs/TextAnnotation
builtin_interfaces/Time timestamp
foxglove_msgs/Point2 position
string text
float64 font_size
foxglove_msgs/Color text_color
foxglove_msgs/Color background_color
{_RULE}
MSG: foxglove_msgs/Point2
float64 x
float64 y
{_RULE}
MSG: foxglove_msgs/Color
float64 r
float64 g
float64 b
float64 a
{_RULE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""


def write_recording(path: Path, annotations: Sequence[ReviewedAnnotation]) -> None:
    """The annotations of one recording, and their images, as an mcap in a rosbag2 folder.

    Each is at the time its image was recorded, on "<topic of the images>/annotations". Raises
    InvalidRecording if it cannot be written.
    """
    messages = ImageAnnotationsType()
    with BagWriter(path, "mcap") as writer:
        for each in sorted(annotations, key=lambda a: (a.recorded_ns, a.topic)):
            topic = f"{each.topic}/annotations"
            writer.add_topic(topic, IMAGE_ANNOTATIONS, DEFINITION)
            data = each.image.read_bytes()
            kind = image_format(data) or "jpeg"
            image = serialize_compressed_image(each.stamp_ns, each.candidate.frame_id, kind, data)
            writer.write(image_topic(each.topic), COMPRESSED_IMAGE, each.recorded_ns, image)
            writer.write(topic, IMAGE_ANNOTATIONS, each.recorded_ns, messages.serialized(each))


def image_topic(topic: str) -> str:
    """The topic of an image's file: the recording's own, or its compressed sibling."""
    return topic if topic.endswith("/compressed") else f"{topic}/compressed"


class ImageAnnotationsType:
    """Makes serialized foxglove_msgs/msg/ImageAnnotations."""

    def __init__(self) -> None:
        self.store = typestore_with({IMAGE_ANNOTATIONS: DEFINITION})

    def serialized(self, reviewed: ReviewedAnnotation) -> bytes:
        """Boxes with their names, and what is suggested, in little-endian CDR."""
        types = self.store.types
        time = types["builtin_interfaces/msg/Time"](*divmod(reviewed.stamp_ns, 1_000_000_000))
        size = max(12.0, reviewed.candidate.height / 36)
        points, texts = [], []
        for number, region in reviewed.annotation["region_perception"].items():
            x, y, width, height = region["box"]
            corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height))
            points.append(
                types["foxglove_msgs/msg/PointsAnnotation"](
                    timestamp=time,
                    type=_LINE_LOOP,
                    points=[self._point(*corner) for corner in corners],
                    outline_color=self._color(1.0, 0.82, 0.4, 1.0),
                    outline_colors=[],
                    fill_color=self._color(1.0, 0.82, 0.4, 0.08),
                    thickness=max(2.0, size / 8),
                )
            )
            name = f"{number} {region['category_name']}".strip()
            texts.append(self._text(time, x, y, name, size))
        for line, text in enumerate(_lines(reviewed)):
            texts.append(self._text(time, 4.0, (line + 1) * size * 1.4, text, size))
        message = types[IMAGE_ANNOTATIONS](circles=[], points=points, texts=texts)
        return serialize(message, IMAGE_ANNOTATIONS, self.store)

    def _text(self, time: Any, x: float, y: float, text: str, size: float) -> Any:
        return self.store.types["foxglove_msgs/msg/TextAnnotation"](
            timestamp=time,
            position=self._point(x, y),
            text=text,
            font_size=size,
            text_color=self._color(1.0, 1.0, 1.0, 1.0),
            background_color=self._color(0.0, 0.0, 0.0, 0.6),
        )

    def _point(self, x: float, y: float) -> Any:
        return self.store.types["foxglove_msgs/msg/Point2"](float(x), float(y))

    def _color(self, r: float, g: float, b: float, a: float) -> Any:
        return self.store.types["foxglove_msgs/msg/Color"](r, g, b, a)


def _lines(reviewed: ReviewedAnnotation) -> Iterable[str]:
    """What is written into the corner of the image."""
    annotation = reviewed.annotation
    for text in (annotation["general_perception"][SUMMARY], annotation["driving_suggestion"]):
        if text.strip():
            plain = " ".join(text.split())
            yield plain if len(plain) <= 120 else plain[:119] + "…"
