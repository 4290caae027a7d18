# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Open a recording of any kind."""

from __future__ import annotations

from pathlib import Path

from vila_ros.bags import donkeycar_tub, image_folder, rosbag2, video_file
from vila_ros.bags.types import RecordedMessage, Recording, Topic
from vila_ros.errors import InvalidRecording

__all__ = ["RecordedMessage", "Recording", "Topic", "open_recording"]


def open_recording(path: Path | str, *, frame_rate: float | None = None) -> Recording:
    """A rosbag2 folder, a lone .mcap or .db3 file, a folder of images, a video, a donkeycar tub.

    frame_rate: images a second for sources that do not know their times; None takes the source's
    usual rate. Raises InvalidRecording if it is none of these or nothing of it can be read.
    """
    path = Path(path)
    if frame_rate is not None and not 0 < frame_rate <= 1000:
        raise InvalidRecording(f"The frame rate {frame_rate} is outside of (0, 1000] Hz.")
    try:
        if path.is_dir():
            return _open_folder(path, frame_rate)
        if not path.is_file():
            raise InvalidRecording(f"'{path}' does not exist.")
        if rosbag2.is_storage_file(path):
            return rosbag2.open_storage_file(path)
        if donkeycar_tub.is_archive(path):
            return donkeycar_tub.open_tub(path, frame_rate)
        if video_file.is_video(path):
            return video_file.open_video(path)
    except OSError as error:
        raise InvalidRecording(f"'{path}' cannot be read: {error.strerror or error}.") from error
    if path.suffix == ".bag":
        raise InvalidRecording(
            f"'{path}' is a recording of ROS 1; convert it: rosbags-convert --src {path} --dst …"
        )
    raise InvalidRecording(
        f"'{path}' is no recording: rosbag2 folders, .mcap, .db3 (also .zstd), folders of JPEG or "
        f"PNG images, videos ({', '.join(video_file.SUFFIXES)}) and donkeycar tubs (folder, .tar, "
        ".tar.gz) are."
    )


def _open_folder(folder: Path, frame_rate: float | None) -> Recording:
    if rosbag2.is_rosbag2_folder(folder):
        return rosbag2.open_folder(folder)
    if donkeycar_tub.is_tub_folder(folder):
        return donkeycar_tub.open_tub(folder, frame_rate)
    return image_folder.open_images(folder, frame_rate)
