# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A video file as a recording of one camera: frames decoded by PyAV, passed on as JPEG.

Stamps are the frames' own presentation times, beginning at one second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    camera_topic,
    serialize_compressed_image,
)
from vila_ros.bags.made_up_time import FIRST_STAMP_NS
from vila_ros.bags.types import RecordedMessage, Topic, Warnings, chosen_topics
from vila_ros.errors import InvalidRecording

if TYPE_CHECKING:
    import av

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts")
JPEG_QUALITY = 95
CAMERA = "camera"
TOPIC = camera_topic(CAMERA)


def is_video(path: Path) -> bool:
    """Whether the name is that of a video file."""
    return path.suffix.lower() in SUFFIXES


class VideoFile:
    """A Recording of a video's first picture stream. Raises InvalidRecording without one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings = Warnings()
        with _open(path) as container:
            # Packets are counted, not decoded: a container may not know its number of frames.
            stream = container.streams.video[0]
            self._time_base = stream.time_base or Fraction(1, 1_000_000)
            times, damage = _packet_times(container, stream)
        if not times:
            raise InvalidRecording(f"'{path}' holds no video frame{damage and ': ' + damage}.")
        self._first = min(times)
        self.topics = {TOPIC: Topic(COMPRESSED_IMAGE, len(times))}
        self.start_ns, self.end_ns = FIRST_STAMP_NS, self._stamp(max(times))
        if damage:
            self.warnings.add(
                f"{path.name}: {damage}; {len(times)} frames of "
                f"{(self.end_ns - self.start_ns) / 1e9:.3f} s are read."
            )

    def _stamp(self, time: int) -> int:
        return FIRST_STAMP_NS + round((time - self._first) * self._time_base * 1_000_000_000)

    def definition(self, message_type: str) -> str:
        """Empty: the type is a standard one."""
        return ""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[RecordedMessage]:
        """See Recording; a start is reached from the keyframe before it."""
        if not chosen_topics(self, topics):
            return iter(())
        return self._read(
            self.start_ns if start_ns is None else start_ns,
            self.end_ns if end_ns is None else end_ns,
        )

    def _read(self, start_ns: int, end_ns: int) -> Iterator[RecordedMessage]:
        import av

        last_ns = FIRST_STAMP_NS
        with _open(self.path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if start_ns > self.start_ns:
                offset = (start_ns - FIRST_STAMP_NS) / (self._time_base * 1_000_000_000)
                container.seek(self._first + int(offset), stream=stream, backward=True)
            try:
                for frame in container.decode(stream):
                    if frame.pts is None:
                        continue
                    stamp = self._stamp(frame.pts)
                    if stamp > end_ns:
                        return
                    if stamp >= start_ns:
                        yield self._message(stamp, frame)
                    last_ns = stamp
            except av.error.FFmpegError as error:
                reached, whole = last_ns - FIRST_STAMP_NS, self.end_ns - FIRST_STAMP_NS
                self.warnings.add(
                    f"{self.path.name}: decoding ends after {reached / 1e9:.3f} s of "
                    f"{whole / 1e9:.3f} s: {error.strerror}."
                )

    def _message(self, stamp_ns: int, frame: av.VideoFrame) -> RecordedMessage:
        pixels = frame.to_ndarray(format="bgr24")
        _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        data = serialize_compressed_image(stamp_ns, CAMERA, "jpeg", jpeg.tobytes())
        return RecordedMessage(TOPIC, COMPRESSED_IMAGE, stamp_ns, data)


def open_video(path: Path) -> VideoFile:
    """The recording of a video. Raises InvalidRecording if it holds no video that can be read."""
    return VideoFile(path)


def _open(path: Path) -> av.container.InputContainer:
    import av

    try:
        # A plain path: no protocols of FFmpeg's that would reach the network.
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        raise InvalidRecording(
            f"'{path}' is no video that can be read: {error.strerror}. A file that was cut off has "
            "often lost its index; record to .mkv to keep what was written."
        ) from error
    if not container.streams.video:
        container.close()
        raise InvalidRecording(f"'{path}' has no video stream.")
    return container


def _packet_times(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[list[int], str]:
    """Presentation times of the stream's packets, and what ended the reading early."""
    import av

    times: list[int] = []
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_corrupt:
                times.append(packet.pts)
    except av.error.FFmpegError as error:
        return times, f"reading ends early ({error.strerror})"
    if stream.frames > len(times):
        return times, f"it ends after {len(times)} of {stream.frames} frames"
    return times, ""
