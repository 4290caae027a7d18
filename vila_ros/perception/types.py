# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What crosses the boundaries of perception: frames in, questions in, answers out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntEnum

from vila_ros.engine.interface import GenerationStats, Stage
from vila_ros.errors import InvalidImage, VilaError


class MessageKind(Enum):
    """The type of a frame's serialized message."""

    IMAGE = "sensor_msgs/msg/Image"
    COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"


class DropReason(str, Enum):
    """Why a message of a camera was not kept; the value is for people."""

    EMPTY = "empty data"
    MALFORMED = "malformed message"
    ZERO_STAMP = "zero stamp"
    FUTURE_STAMP = "stamp in the future"
    DUPLICATE_STAMP = "stamp already held"
    LATE = "older than what is kept"
    OVERSIZED = "larger than the buffer"
    UNKNOWN_ENCODING = "unknown encoding"
    WRONG_SIZE = "step or size does not fit the data"
    TOO_MANY_PIXELS = "too many pixels"
    TRUNCATED = "truncated file"
    UNDECODABLE = "cannot be decoded"


class RefusedImage(InvalidImage):
    """An image that is not taken, with the reason under which a camera counts it."""

    def __init__(self, reason: DropReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A camera image as it arrived: serialized (CDR), not decoded.

    stamp_ns: the header's stamp, nanoseconds. frame_id: the header's. data: the whole message.
    serial: numbers the frames of this process, for stamps come again with other pictures: in a
        simulation that was reset, in another recording.
    """

    camera: str
    stamp_ns: int
    frame_id: str
    kind: MessageKind
    data: bytes
    serial: int = 0

    @property
    def key(self) -> str:
        """Names the frame's content for caches; no other frame of the process has it."""
        return f"{self.camera}@{self.stamp_ns}#{self.serial}"


@dataclass(frozen=True, slots=True)
class FrameReference:
    """Which frame an answer was based on; FrameRef.msg."""

    camera: str
    stamp_ns: int
    frame_id: str


class Sampling(IntEnum):
    """How frames are picked from a window; the constants of Ask.action's goal."""

    DEFAULT = 0
    LATEST = 1
    UNIFORM = 2
    KEYFRAMES = 3
    NONE = 4


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A few-shot example; images are encoded files (jpeg, png)."""

    images: tuple[bytes, ...]
    question: str
    answer: str


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """A question about what the cameras saw; fields and units as in Ask.action, where the zero
    value of a field means the Perceiver's default."""

    prompt: str
    system_prompt: str = ""
    cameras: tuple[str, ...] = ()
    window: float = 0.0
    start_ns: int = 0
    end_ns: int = 0
    max_frames: int = 0
    sampling: Sampling = Sampling.DEFAULT
    images: tuple[bytes, ...] = ()
    examples: tuple[Example, ...] = ()
    json_schema: str = ""
    choices: tuple[str, ...] = ()
    max_tokens: int = 0
    temperature: float = 0.0
    seed: int = 0
    deadline: float = 0.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an answer is; the feedback of Ask.action.

    text: the answer so far. tokens: tokens generated so far.
    """

    stage: Stage
    text: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a question.

    error: None on success; with an error, text holds what was generated until then.
    frames: the camera frames it is based on, in the order shown to the model.
    queue_time: seconds from acceptance of the question until the engine took it, decoding included.
    decode_time: seconds of these spent choosing frames and making them ready for the engine.
    time_to_first_token, total_time: seconds from acceptance; 0 where it did not come to that.
    stats: the engine's own account, counted from when it was given the question.
    """

    text: str = ""
    json: str = ""
    error: VilaError | None = None
    choice_probabilities: tuple[float, ...] = ()
    frames: tuple[FrameReference, ...] = ()
    model: str = ""
    runtime: str = ""
    queue_time: float = 0.0
    decode_time: float = 0.0
    time_to_first_token: float = 0.0
    total_time: float = 0.0
    stats: GenerationStats = field(default_factory=GenerationStats)

    @property
    def window_ns(self) -> tuple[int, int]:
        """Stamps of the oldest and the newest frame used; (0, 0) without frames."""
        stamps = [frame.stamp_ns for frame in self.frames]
        return (min(stamps), max(stamps)) if stamps else (0, 0)
