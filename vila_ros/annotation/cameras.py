# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which of a recording's cameras are looked at, and at which of their frames."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from vila_ros.bags.recorded_cameras import (
    RecordedCamera,
    image_topics,
    listed,
    one_topic_each,
)
from vila_ros.bags.types import RecordedMessage, Recording
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRequest
from vila_ros.perception.cdr import read_compressed_image, read_header
from vila_ros.perception.images import decode_frame
from vila_ros.perception.jpeg import encode_jpeg
from vila_ros.perception.types import Frame, MessageKind, RefusedImage

JPEG_QUALITY = 95
"""Of frames that were recorded without compression."""


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A frame that is looked at.

    stamp_ns: the header's, or recorded_ns where that is zero. recorded_ns: when it was recorded.
    """

    camera: RecordedCamera
    stamp_ns: int
    recorded_ns: int
    frame: Frame
    pixels: RgbImage

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        height, width = self.pixels.shape[:2]
        return width, height


def scanned_cameras(recording: Recording, wanted: Sequence[str] = ()) -> tuple[RecordedCamera, ...]:
    """The cameras in the order of their topics; those wanted, by name or topic, as far as there.

    Raises InvalidRequest where there are none, naming what there is.
    """
    every = image_topics(recording)
    chosen = [each for each in every if {each.name, each.topic} & set(wanted) or not wanted]
    if not chosen:
        raise InvalidRequest(
            f"'{recording.path}' has no camera {' or '.join(wanted)}; it has {listed(every)}."
        )
    return one_topic_each(chosen)


def sights(
    recording: Recording,
    cameras: Sequence[RecordedCamera],
    times: Sequence[int],
    start_ns: int,
    end_ns: int,
    skipped: Callable[[str], None],
) -> Iterator[Sight]:
    """Of each camera the first frame at or after each of the times, in time order, each once.

    times: sorted, as recorded. start_ns, end_ns: frames are taken from this time only. skipped:
    told of every frame that cannot be decoded, for which the next one is taken.
    """
    by_topic = {camera.topic: camera for camera in cameras}
    due = dict.fromkeys(by_topic, 0)  # index of the time that is waited for
    for message in recording.messages(by_topic.keys(), start_ns, end_ns):
        index = due[message.topic]
        if index >= len(times) or message.stamp_ns < times[index]:
            continue
        try:
            yield sight_of(message, by_topic[message.topic])
        except RefusedImage as error:
            skipped(f"{message.topic} at {message.stamp_ns}: {error.message}")
            continue
        due[message.topic] = bisect.bisect_right(times, message.stamp_ns)


def sight_of(message: RecordedMessage, camera: RecordedCamera) -> Sight:
    """A recorded message as a decoded frame. Raises RefusedImage."""
    stamp, frame_id = read_header(message.data)
    frame = Frame(camera.name, stamp or message.stamp_ns, frame_id, camera.kind, message.data)
    return Sight(camera, frame.stamp_ns, message.stamp_ns, frame, decode_frame(frame))


def image_file(sight: Sight) -> tuple[bytes, str]:
    """The frame as a file and its suffix: the recorded bytes, or a JPEG of a raw image."""
    if sight.frame.kind is MessageKind.COMPRESSED_IMAGE:
        data = bytes(read_compressed_image(sight.frame.data).data)
        return data, ".jpg" if data.startswith(b"\xff\xd8") else ".png"
    return encode_jpeg(sight.pixels, JPEG_QUALITY), ".jpg"
