# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A video file as a recording of one camera: frames decoded by PyAV, passed on as JPEG.

Stamps are the frames' own presentation times, beginning at one second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from itertools import dropwhile
from operator import itemgetter
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
            times, keyframes, damage = _packet_times(container, stream)
        if not times:
            raise InvalidRecording(f"'{path}' holds no video frame{damage and ': ' + damage}.")
        self._first = min(times)
        self._keyframes = sorted(keyframes)
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
        try:
            for stamp, frame in self._frames(start_ns):
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

    def _frames(self, start_ns: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Stamps and frames from somewhere before start_ns on, none left out after it."""
        import av

        if start_ns > self.end_ns:
            return
        if start_ns > self.start_ns:
            with _open(self.path) as container:
                for time in self._seek_times(start_ns):
                    try:
                        frames = self._decoded(_packets_from_keyframe(container, time))
                        first = next(frames, None)
                    except av.error.FFmpegError:
                        continue  # no place to begin at
                    if first is not None and first[0] <= start_ns:
                        yield first
                        yield from frames
                        return
        with _open(self.path) as container:
            yield from self._decoded(container.demux(container.streams.video[0]))

    def _seek_times(self, start_ns: int) -> Iterator[int]:
        """Where to seek for a start, each to be tried when the one before has led past the start.

        That happens: in MPEG-TS, FFmpeg seeks to the last packet before a time, keyframe or not,
        and a stream with intra refresh shows no whole frame until long after its keyframe.
        """
        ticks = (start_ns - FIRST_STAMP_NS) / (self._time_base * 1_000_000_000)
        start = self._first + int(ticks)
        yield start
        before = bisect_right(self._keyframes, start, key=itemgetter(0))
        back = 1
        while back < before:  # The first keyframe is reached by reading from the beginning.
            yield self._keyframes[before - back][1]
            back *= 2

    def _decoded(self, packets: Iterable[av.Packet]) -> Iterator[tuple[int, av.VideoFrame]]:
        for packet in packets:
            for frame in packet.decode():
                if frame.pts is not None:
                    yield self._stamp(frame.pts), frame

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
    container.streams.video[0].thread_type = "AUTO"
    return container


def _packets_from_keyframe(
    container: av.container.InputContainer, time: int
) -> Iterator[av.Packet]:
    """The packets after a seek; what precedes the first keyframe would decode to garbage."""
    stream = container.streams.video[0]
    container.seek(time, stream=stream, backward=True)
    return dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream))


def _packet_times(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[list[int], list[tuple[int, int]], str]:
    """Presentation times of the stream's packets, presentation and decoding times of its keyframes,
    and what ended the reading early."""
    import av

    times: list[int] = []
    keyframes: list[tuple[int, int]] = []
    damage = ""
    try:
        for packet in container.demux(stream):
            if packet.pts is not None and not packet.is_corrupt:
                times.append(packet.pts)
                if packet.is_keyframe:
                    keyframes.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
    except av.error.FFmpegError as error:
        damage = f"reading ends early ({error.strerror})"
    if not damage and stream.frames > len(times):
        damage = f"it ends after {len(times)} of {stream.frames} frames"
    return times, keyframes, damage
