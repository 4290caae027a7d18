# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pictures of one task: each written once, however many samples show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Protocol

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.datasets.blurring import PictureSource
from vila_ros.datasets.pictures import Encoding, picture_of
from vila_ros.datasets.records import MediaFile
from vila_ros.errors import VilaError
from vila_ros.perception.types import Frame, MessageKind, RefusedImage

Outcome = MediaFile | RefusedImage


class Later(Protocol):
    """An outcome that may still be worked on, as concurrent.futures.Future has it."""

    def done(self) -> bool:
        """Whether it is there."""

    def result(self) -> Outcome:
        """The outcome, waited for; raises what the work raised."""


@dataclass(frozen=True, slots=True)
class Written:
    """An outcome that is there; a Future's lock would cost more than the copy."""

    outcome: Outcome

    def done(self) -> bool:
        """It is."""
        return True

    def result(self) -> Outcome:
        """The outcome."""
        return self.outcome


class ExportFailed(VilaError):
    """The export cannot go on: the disk is full, or a file cannot be written."""


class MediaFolder:
    """Writes frames below a folder as CAMERA/STAMP.jpg.

    place: the folder's later place relative to the export's. threads: for encoding, 1 does it in
    the caller's, as copies are made. At most twice as many raw frames as threads are in memory.
    """

    def __init__(
        self, folder: Path, place: str, recording: str, encoding: Encoding, threads: int
    ) -> None:
        # Plain strings: pathlib's cost more than a copy does.
        self._folder, self._place, self._recording = str(folder), place, recording
        self._encoding = encoding
        # With one thread the caller's is the best: what it read is still in its cache.
        self._alone = threads == 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vila-encode")
        self._room = BoundedSemaphore(2 * threads)
        self._known: dict[tuple[str, int], Later] = {}
        self._cameras: set[str] = set()

    def put(self, camera: RecordedCamera, frame: Frame, recorded_ns: int) -> Later:
        """Write a frame if it is not there; the result is the file, or why there is none.

        The future raises ExportFailed and BlurFailed.
        """
        key = (camera.topic, frame.stamp_ns)
        known = self._known.get(key)
        if known is not None:
            return known
        if camera.name not in self._cameras:
            _checked(lambda: os.makedirs(f"{self._folder}/{camera.name}", exist_ok=True))
            self._cameras.add(camera.name)
        if self._alone or (frame.kind is MessageKind.COMPRESSED_IMAGE and not self._encoding.hook):
            future: Later = Written(self._write(camera, frame, recorded_ns))
        else:
            self._room.acquire()
            running = self._pool.submit(self._write, camera, frame, recorded_ns)
            running.add_done_callback(lambda _: self._room.release())
            future = running
        self._known[key] = future
        return future

    def keep(self, shown: Container[str]) -> None:
        """Remove the files whose places are not among those shown."""
        for future in self._known.values():
            outcome = future.result()
            if isinstance(outcome, MediaFile) and outcome.file not in shown:
                os.unlink(f"{self._folder}/{outcome.file[len(self._place) + 1 :]}")

    def close(self) -> None:
        """Wait for the threads; what has not begun is not written."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _write(self, camera: RecordedCamera, frame: Frame, recorded_ns: int) -> Outcome:
        source = PictureSource(self._recording, camera.name, camera.topic, frame.stamp_ns)
        try:
            picture = picture_of(frame, self._encoding, source)
        except RefusedImage as error:
            return error
        name = f"{camera.name}/{frame.stamp_ns}{picture.suffix}"
        write_file(f"{self._folder}/{name}", picture.data)
        return MediaFile(
            file=f"{self._place}/{name}",
            width=picture.width,
            height=picture.height,
            bytes=len(picture.data),
            copied=picture.copied,
            blurred=picture.blurred,
            camera=camera.name,
            topic=camera.topic,
            stamp_ns=frame.stamp_ns,
            recorded_ns=recorded_ns,
            frame_id=frame.frame_id,
        )


def write_file(path: Path | str, data: bytes | memoryview) -> None:
    """A new file with this content. Raises ExportFailed."""

    def write() -> None:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(number, rest) :]
        finally:
            os.close(number)

    _checked(write)


def _checked(act: Callable[[], None]) -> None:
    try:
        act()
    except OSError as error:
        raise ExportFailed(
            f"'{error.filename or 'the export'}' cannot be written: {error.strerror or error}. "
            "What was finished is kept; make room and run the same command again to go on."
        ) from error
