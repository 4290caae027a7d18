# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the demonstration works with: a recording with cameras, and a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vila_ros.bags.recorded_cameras import RecordedCamera, watched_cameras
from vila_ros.bags.recording import Recording, open_recording
from vila_ros.errors import InvalidRequest
from vila_ros.model.embedded import EMBEDDED_INT4, EMBEDDED_MODELS
from vila_ros.perception.cdr import read_header
from vila_ros.perception.types import RefusedImage
from vila_ros.simulation.drive import write_drive
from vila_ros.simulation.scene import FrameTruth

DRIVE_SECONDS = 26.4
LONGEST_SECONDS = 30.0
MOST_SEED = (1 << 31) - 1
EMBEDDED_NOTE = (
    "vila-nano is for this demonstration and for tests: it was trained on simulated scenes, knows "
    "eight kinds of things and little else. A robot should use a released VILA checkpoint: "
    "make demo MODEL=Efficient-Large-Model/VILA1.5-3b"
)
_RATE = 5.0
_SIZE = (512, 384)


@dataclass(frozen=True)
class Material:
    """Everything that is shown.

    seconds: how much of the recording is played. frames: frame_id of each frame that is played, by
    camera and stamp. seed: of a simulated drive, with its truths by stamp; None and empty for a
    recording of the user's.
    """

    recording: Recording
    cameras: tuple[RecordedCamera, ...]
    model: str
    seconds: float
    frames: dict[tuple[str, int], str]
    seed: int | None = None
    truths: tuple[FrameTruth, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether the model is the one that is made for demonstrations."""
        return self.model in EMBEDDED_MODELS


def prepare(
    bag: str,
    model: str,
    seconds: float,
    folder: Path,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Material:
    """Open the recording, or simulate a drive in the folder where it is empty; name the model.

    seconds: to play, 0 for the default. seed: of the simulated drive. progress: told how many of
    its pictures are rendered, and how many there are.
    Raises InvalidRequest or InvalidRecording for a recording without cameras, or none; Unsupported
    where the simulation's engine is not installed.
    """
    if not 0 <= seconds <= 3600:
        raise InvalidRequest(f"--seconds is {seconds}; it must be from 0 (default) to 3600.")
    if not 0 <= seed <= MOST_SEED:
        raise InvalidRequest(f"--seed is {seed}; it must be from 0 to {MOST_SEED}.")
    truths: tuple[FrameTruth, ...] = ()
    simulated = not bag
    if simulated:
        length = seconds or DRIVE_SECONDS
        path = folder / "drive"
        truths = tuple(write_drive(path, seed, length, _RATE, _SIZE, on_frame=progress))
        bag = str(path)
    recording = open_recording(bag)
    cameras = watched_cameras(recording)
    length = (recording.end_ns - recording.start_ns) / 1e9
    seconds = min(seconds or LONGEST_SECONDS, length)
    return Material(
        recording=recording,
        cameras=cameras,
        model=model or EMBEDDED_INT4,
        seconds=seconds,
        frames=_played_frames(recording, cameras, seconds),
        seed=seed if simulated else None,
        truths=truths,
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
