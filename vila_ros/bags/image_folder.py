# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of JPEG or PNG images as a recording of one camera, or one camera a subfolder.

File names that are nanoseconds since 1970 (19 digits, as in the EuRoC and TUM VI datasets) are the
stamps; otherwise the images follow each other, in the order people count, at a fixed rate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path

from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    STAMPS,
    camera_topics,
    image_format,
    serialize_compressed_image,
)
from vila_ros.bags.made_up_time import stamp_at_rate
from vila_ros.bags.natural_order import natural_order
from vila_ros.bags.time_order import Span, merge_in_time
from vila_ros.bags.types import RecordedMessage, Topic, Warnings, chosen_topics
from vila_ros.errors import InvalidRecording

DEFAULT_RATE = 10.0
MAX_IMAGE_BYTES = 64 << 20
SUFFIXES = (".jpg", ".jpeg", ".png")
_STAMP_DIGITS = 19  # nanoseconds since 1970, from 2001 on


class ImageFolder:
    """A Recording of image files; their bytes are the messages' data, unchanged.

    cameras: image files by camera name, in order.
    """

    def __init__(self, path: Path, cameras: Mapping[str, list[Path]], rate: float | None) -> None:
        self.path = path
        self.warnings = Warnings()
        self._cameras = camera_topics(cameras)
        self._stamps: dict[str, list[tuple[int, Path]]] = {}
        for topic, name in self._cameras.items():
            files = cameras[name]
            if rate is None and all(_is_stamp(file.stem) for file in files):
                self._stamps[topic] = [(int(file.stem), file) for file in files]
                continue
            shown = rate or DEFAULT_RATE
            self._stamps[topic] = [
                (stamp_at_rate(index, shown), file) for index, file in enumerate(files)
            ]
            self.warnings.add(
                f"{path.name}: the images of '{name}' have no times; they are given "
                f"{shown:g} a second, beginning at 1 s."
            )
        self.topics = {
            topic: Topic(COMPRESSED_IMAGE, len(files)) for topic, files in self._stamps.items()
        }
        stamps = [stamp for files in self._stamps.values() for stamp, _ in files]
        self.start_ns, self.end_ns = min(stamps), max(stamps)

    def definition(self, message_type: str) -> str:
        """Empty: the types are standard ones."""
        return ""

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[RecordedMessage]:
        """See Recording."""
        start = self.start_ns if start_ns is None else start_ns
        end = self.end_ns if end_ns is None else end_ns
        return merge_in_time(
            Span(self._stamps[topic][0][0], partial(self._read, topic, start, end))
            for topic in sorted(chosen_topics(self, topics))
        )

    def _read(self, topic: str, start_ns: int, end_ns: int) -> Iterator[RecordedMessage]:
        for stamp, file in self._stamps[topic]:
            if not start_ns <= stamp <= end_ns:
                continue
            try:
                with file.open("rb") as source:
                    data = source.read(MAX_IMAGE_BYTES + 1)
            except OSError as error:
                self.warnings.add(f"{file.name} is skipped: {error.strerror}.")
                continue
            kind = image_format(data)
            if not kind or len(data) > MAX_IMAGE_BYTES:
                why = f"more than {MAX_IMAGE_BYTES} bytes" if kind else "neither JPEG nor PNG"
                self.warnings.add(f"{file.name} is skipped: {why}.")
                continue
            message = serialize_compressed_image(stamp, self._cameras[topic], kind, data)
            yield RecordedMessage(topic, COMPRESSED_IMAGE, stamp, message)


def open_images(folder: Path, rate: float | None = None) -> ImageFolder:
    """The recording of a folder; rate: images a second, None for the names' times or 10 a second.

    Raises InvalidRecording if neither the folder nor its subfolders hold images.
    """
    cameras = {"camera": _images(folder)}
    if not cameras["camera"]:
        folders = sorted(filter(Path.is_dir, folder.iterdir()), key=natural_order)
        cameras = {sub.name: files for sub in folders if (files := _images(sub))}
    if not cameras:
        raise InvalidRecording(
            f"'{folder}' holds neither a recording (metadata.yaml, .mcap, .db3) nor a donkeycar "
            f"tub (manifest.json) nor images ({', '.join(SUFFIXES)}), also not in its subfolders."
        )
    return ImageFolder(folder, cameras, rate)


def _images(folder: Path) -> list[Path]:
    files = (
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    return sorted(files, key=lambda file: natural_order(file.name))


def _is_stamp(name: str) -> bool:
    is_number = len(name) == _STAMP_DIGITS and name.isascii() and name.isdigit()
    return is_number and name[0] != "0" and int(name) in STAMPS
