# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The moments before and after a frame, read from its recording."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import cv2
import numpy as np

from vila_ros.annotation.cameras import image_file, sight_of
from vila_ros.annotation.types import Candidate
from vila_ros.bags.recorded_cameras import RecordedCamera, camera_of_topic
from vila_ros.bags.recording import open_recording
from vila_ros.bags.types import RecordedMessage, Recording
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRecording, InvalidRequest
from vila_ros.perception.image_files import FileFormat, inspect_file
from vila_ros.perception.images import inspect_message
from vila_ros.perception.jpeg import encode_jpeg, smaller
from vila_ros.perception.types import MessageKind, RefusedImage

SECONDS = 5.0
"""How far a strip goes before and after its frame."""

STEP = 0.25
"""Seconds between two pictures of a strip, at least."""

SMALL_WIDTH, SMALL_QUALITY = 192, 70
_STRIPS_KEPT, _RECORDINGS_KEPT = 24, 4
# A JPEG is decoded at a half to an eighth of its size straight from its frequencies.
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, eq=False)
class StripFrame:
    """A picture of a strip. seconds: after the candidate's frame. small: a small JPEG file."""

    recorded_ns: int
    seconds: float
    small: bytes


class FilmStrips:
    """Reads strips and frames out of recordings; keeps the last ones. Thread-safe.

    folders: where to look for recordings, by their names, that are not where they were.
    """

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._recordings: _Kept[str, Recording] = _Kept(_RECORDINGS_KEPT)
        self._strips: _Kept[str, tuple[StripFrame, ...]] = _Kept(_STRIPS_KEPT)

    def strip(self, candidate: Candidate) -> tuple[StripFrame, ...]:
        """The pictures around a candidate's frame, in time order, its own among them.

        Raises InvalidRecording where the recording is not there or cannot be read.
        """
        with self._lock:
            return self._strips.get(candidate.id, lambda: self._read(candidate))

    def frame(self, candidate: Candidate, recorded_ns: int) -> tuple[bytes, str]:
        """A frame of the candidate's camera as a file and its media type, in full size.

        Raises InvalidRecording, and InvalidRequest for a time far from the candidate's.
        """
        if abs(recorded_ns - candidate.recorded_ns) > 60e9:
            raise InvalidRequest(f"{recorded_ns} is more than a minute from {candidate.id}")
        with self._lock:
            recording = self._recording(candidate)
            camera = _camera(recording, candidate)
            for message in recording.messages([camera.topic], recorded_ns, recorded_ns):
                try:
                    data, suffix = image_file(sight_of(message, camera))
                except RefusedImage as error:
                    raise InvalidRecording(error.message) from error
                return data, "image/png" if suffix == ".png" else "image/jpeg"
        raise InvalidRequest(f"{candidate.topic} has no frame at {recorded_ns}")

    def _read(self, candidate: Candidate) -> tuple[StripFrame, ...]:
        recording = self._recording(candidate)
        camera = _camera(recording, candidate)
        middle, reach = candidate.recorded_ns, round(SECONDS * 1e9)
        frames: list[StripFrame] = []
        due = middle - reach
        for message in recording.messages([camera.topic], middle - reach, middle + reach):
            if message.stamp_ns < due and message.stamp_ns != middle:
                continue
            pixels = _decoded_small(message, camera)
            if pixels is None:
                continue
            seconds = (message.stamp_ns - middle) / 1e9
            small = encode_jpeg(smaller(pixels, SMALL_WIDTH), SMALL_QUALITY)
            frames.append(StripFrame(message.stamp_ns, round(seconds, 3), small))
            due = message.stamp_ns + round(STEP * 1e9)
            if message.stamp_ns < middle < due:
                due = middle  # the candidate's own is always there
        return tuple(frames)

    def _recording(self, candidate: Candidate) -> Recording:
        return self._recordings.get(
            candidate.recording, lambda: open_recording(self._place(Path(candidate.recording)))
        )

    def _place(self, path: Path) -> Path:
        places = [path, *(folder / path.name for folder in self._folders)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise InvalidRecording(
                f"The recording is not at {path} any more; name the folder that has it with "
                "--recordings."
            )
        return found


def _camera(recording: Recording, candidate: Candidate) -> RecordedCamera:
    camera = camera_of_topic(recording, candidate.topic, candidate.camera)
    if camera is None:
        raise InvalidRecording(f"'{recording.path}' has no images of {candidate.topic} any more.")
    return camera


def _decoded_small(message: RecordedMessage, camera: RecordedCamera) -> RgbImage | None:
    """The picture, at a part of its size where that is faster; None if it cannot be decoded."""
    try:
        if camera.kind is MessageKind.COMPRESSED_IMAGE:
            data = inspect_message(camera.kind, message.data).data
            file = inspect_file(data)
            parts = [part for part in _REDUCED if file.width >= part * SMALL_WIDTH]
            if file.format is FileFormat.JPEG and parts:
                mode = _REDUCED[max(parts)] | cv2.IMREAD_IGNORE_ORIENTATION
                bgr = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
                return None if bgr is None else cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
        return sight_of(message, camera).pixels
    except RefusedImage:
        return None


class _Kept(Generic[Key, Value]):
    """The values used last, by their keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made now where it is not held."""
        if key not in self._values:
            self._values[key] = make()
        self._values.move_to_end(key)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return self._values[key]
