# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demonstration works with: a recording with cameras, and a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vila_ros.bags.recorded_cameras import RecordedCamera, recorded_cameras
from vila_ros.bags.recording import Recording, open_recording
from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.errors import InvalidRequest
from vila_ros.perception.cdr import read_header
from vila_ros.perception.types import RefusedImage

DRAWN_SECONDS = 12.0
LONGEST_SECONDS = 30.0


@dataclass(frozen=True)
class Material:
    """Everything that is shown.

    seconds: how much of the recording is played. frames: frame_id of each frame that is played, by
    camera and stamp. drawn, random: the recording, the model was made for the demonstration.
    """

    recording: Recording
    cameras: tuple[RecordedCamera, ...]
    model: str
    seconds: float
    frames: dict[tuple[str, int], str]
    drawn: bool
    random: bool


def prepare(bag: str, model: str, seconds: float, folder: Path) -> Material:
    """Open the recording and name the model, or make them in the folder where they are empty.

    seconds: to play, 0 for the default. Raises InvalidRequest or InvalidRecording for a recording
    without cameras, or none.
    """
    if not 0 <= seconds <= 3600:
        raise InvalidRequest(f"--seconds is {seconds}; it must be from 0 (default) to 3600.")
    drawn, random = not bag, not model
    if drawn:
        write_drive(folder / "drive", seconds=seconds or DRAWN_SECONDS)
        bag = str(folder / "drive")
    recording = open_recording(bag)
    cameras = recorded_cameras(recording)
    if random:
        # Here, since it loads torch, which takes seconds.
        from vila_ros.model.random_checkpoint import write_random_checkpoint

        model = str(write_random_checkpoint(folder / "random_checkpoint"))
    length = (recording.end_ns - recording.start_ns) / 1e9
    seconds = min(seconds or LONGEST_SECONDS, length)
    return Material(
        recording=recording,
        cameras=cameras,
        model=model,
        seconds=seconds,
        frames=_played_frames(recording, cameras, seconds),
        drawn=drawn,
        random=random,
    )


def _played_frames(
    recording: Recording, cameras: tuple[RecordedCamera, ...], seconds: float
) -> dict[tuple[str, int], str]:
    names = {camera.topic: camera.name for camera in cameras}
    end_ns = recording.start_ns + round(seconds * 1e9)
    frames = {}
    for message in recording.messages(names, end_ns=end_ns):
        try:
            stamp, frame_id = read_header(message.data)
        except RefusedImage:
            continue  # the node drops it as well
        frames[names[message.topic], stamp] = frame_id
    return frames
