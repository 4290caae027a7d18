# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node: name, type, default, meaning, limits, and when it may change.

This is the one place where they are written. parameters.py declares them in ROS, a test holds
config/vila.yaml equal to them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vila_ros.bags.recorded_cameras import CAMERA_NAME
from vila_ros.engine.interface import EngineSpec
from vila_ros.engine.json_schema import check_schema
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.errors import InvalidRequest
from vila_ros.nodes.parameter_fields import Changes, Parameter, parameter
from vila_ros.perception.buffer import BufferLimits
from vila_ros.perception.image_files import MAX_PIXELS
from vila_ros.perception.questions import PerceiverDefaults
from vila_ros.perception.sampling import TOLERANCE_NS
from vila_ros.perception.types import MessageKind, Sampling

SAMPLINGS = ("latest", "uniform", "keyframes")


def _check_cameras(names: tuple[str, ...]) -> None:
    wrong = [name for name in names if not CAMERA_NAME.fullmatch(name)]
    if wrong and names != ("",):
        raise InvalidRequest(
            f"cameras holds '{wrong[0]}'; a name is a letter, then up to 31 letters, digits and _. "
            "For no camera write ['']."
        )
    if len(set(names)) < len(names):
        raise InvalidRequest(f"cameras names a camera twice: {', '.join(names)}.")


def _check_options(text: str) -> None:
    try:
        options = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"engine.options is not JSON: {error}. It was: {text}") from None
    if not isinstance(options, dict):
        raise InvalidRequest(f'engine.options must be a JSON object as {{"key": 1}}, not {text}.')


def _check_optional_schema(text: str) -> None:
    if text:
        check_schema(text)


def _check_topic(topic: str) -> None:
    # A first look; what else ROS refuses in a name is reported by configure.
    if not topic.strip() or topic != topic.strip() or "//" in topic or topic.endswith("/"):
        raise InvalidRequest(f"'{topic}' is no topic; write for example /front/image_raw.")


def _check_prompt(text: str) -> None:
    if not text.strip():
        raise InvalidRequest("description.prompt is empty; write what to ask.")


_AT_REST = {"changes": Changes.UNCONFIGURED}


@dataclass(frozen=True)
class Settings:
    """The node's parameters, checked. Durations in seconds, sizes in bytes."""

    autostart: bool = parameter(
        "autostart",
        False,
        "Configure and activate when the process starts, and so again after a respawn; otherwise "
        "a lifecycle manager does.",
        **_AT_REST,
    )
    cameras: tuple[str, ...] = parameter(
        "cameras",
        ("camera",),
        "Names of the cameras; each has its own parameters camera.<name>.*. [''] for none.",
        check=_check_cameras,
        **_AT_REST,
    )

    engine_runtime: str = parameter(
        "engine.runtime",
        "torch",
        "What runs the model: torch, openai_http, tensorrt_llm_engine, tensorrt_llm_pytorch, or "
        "package.module:Class of an Engine of your own.",
        **_AT_REST,
    )
    engine_model: str = parameter(
        "engine.model",
        "",
        "Folder of a VILA checkpoint, or its name on the Hugging Face hub.",
        **_AT_REST,
    )
    engine_options: str = parameter(
        "engine.options",
        "{}",
        "Keyword arguments of the runtime as a JSON object, for instance "
        '{"device": "cuda:0", "dtype": "float16"}.',
        check=_check_options,
        **_AT_REST,
    )
    engine_interpreter: str = parameter(
        "engine.interpreter",
        "",
        "Python interpreter of the worker process; empty for the node's own.",
        **_AT_REST,
    )

    engine_load_timeout: float = parameter(
        "engine.load_timeout",
        1800.0,
        "Seconds the worker may take to load the model; then it is started again.",
        low=1.0,
        high=86_400.0,
        **_AT_REST,
    )
    engine_heartbeat_timeout: float = parameter(
        "engine.heartbeat_timeout",
        10.0,
        "Seconds without a heartbeat after which the worker is killed and started again.",
        low=1.0,
        high=3600.0,
        **_AT_REST,
    )
    engine_stall_timeout: float = parameter(
        "engine.stall_timeout",
        120.0,
        "Seconds a request may make no step, the slowest of which encodes and prefills the largest "
        "prompt; then the worker is killed and started again.",
        low=1.0,
        high=86_400.0,
        **_AT_REST,
    )

    buffer_seconds: float = parameter(
        "buffer.seconds", 10.0, "Seconds of frames kept of each camera.", low=0.1, high=3600.0
    )
    buffer_frames: int = parameter(
        "buffer.frames", 300, "Frames kept of each camera.", low=1, high=100_000
    )
    buffer_bytes: int = parameter(
        "buffer.bytes",
        512 * 1024 * 1024,
        "Bytes kept of each camera: 512 MiB are 194 frames of 1280x720 rgb8.",
        low=1000,
        high=1 << 40,
    )
    buffer_pixels: int = parameter(
        "buffer.pixels",
        MAX_PIXELS,
        "Pixels of one image at most; larger ones are dropped before they are decoded.",
        low=1,
        high=1 << 31,
    )
    buffer_future_seconds: float = parameter(
        "buffer.future_seconds",
        1.0,
        "Seconds a stamp may be ahead of the clock, for cameras on other computers.",
        low=0.0,
        high=3600.0,
    )
    buffer_decoded_bytes: int = parameter(
        "buffer.decoded_bytes",
        256 * 1024 * 1024,
        "Bytes of decoded images kept for the next question, over all cameras.",
        low=0,
        high=1 << 40,
    )

    window: float = parameter(
        "question.window",
        5.0,
        "Seconds back from the newest frame when a question names no window.",
        low=0.0,
        high=3600.0,
    )
    max_frames: int = parameter(
        "question.max_frames",
        8,
        "Frames over all cameras when a question names no number.",
        low=1,
        high=1024,
    )
    sampling: str = parameter(
        "question.sampling",
        "uniform",
        "How frames are picked from the window when a question does not say.",
        allowed=SAMPLINGS,
    )
    tolerance: float = parameter(
        "question.tolerance",
        TOLERANCE_NS / 1e9,
        "Seconds by which frames of two cameras may differ and still show one instant.",
        low=0.0,
        high=60.0,
    )
    max_tokens: int = parameter(
        "question.max_tokens",
        256,
        "Tokens of an answer when a question names no number.",
        low=1,
        high=1_000_000,
    )
    deadline: float = parameter(
        "question.deadline",
        60.0,
        "Seconds an answer may take when a question names no deadline.",
        low=0.01,
        high=86_400.0,
    )
    system_prompt: str = parameter(
        "question.system_prompt",
        "",
        "System prompt when a question has none; empty keeps the model's own.",
    )
    queue_size: int = parameter(
        "question.queue_size",
        16,
        "Questions that may wait; one more is refused with QUEUE_FULL.",
        low=1,
        high=10_000,
    )
    feedback_rate: float = parameter(
        "question.feedback_rate",
        20.0,
        "Feedback messages a second of one action goal at most; the last one is always sent.",
        low=0.1,
        high=1000.0,
    )

    query_max_deadline: float = parameter(
        "query.max_deadline",
        10.0,
        "Seconds an answer of the service may take at most, whatever the request asks for.",
        low=0.01,
        high=3600.0,
    )
    query_max_tokens: int = parameter(
        "query.max_tokens",
        128,
        "Tokens of an answer of the service at most, whatever the request asks for.",
        low=1,
        high=1_000_000,
    )

    description_rate: float = parameter(
        "description.rate",
        0.0,
        "Scene descriptions a second, in ROS time; 0 for none.",
        low=0.0,
        high=100.0,
    )
    description_prompt: str = parameter(
        "description.prompt",
        "Describe what the robot sees in one or two sentences.",
        "What is asked for a scene description.",
        check=_check_prompt,
    )
    description_cameras: tuple[str, ...] = parameter(
        "description.cameras", ("",), "Cameras of a scene description; [''] for all."
    )
    description_window: float = parameter(
        "description.window",
        0.0,
        "Seconds back from the newest frame; 0 for question.window.",
        low=0.0,
        high=3600.0,
    )
    description_max_frames: int = parameter(
        "description.max_frames",
        0,
        "Frames over all cameras; 0 for question.max_frames.",
        low=0,
        high=1024,
    )
    description_json_schema: str = parameter(
        "description.json_schema",
        "",
        "JSON schema that a description must satisfy; empty for free text.",
        check=_check_optional_schema,
    )
    description_max_tokens: int = parameter(
        "description.max_tokens", 128, "Tokens of a description.", low=1, high=1_000_000
    )
    description_deadline: float = parameter(
        "description.deadline", 30.0, "Seconds a description may take.", low=0.01, high=3600.0
    )

    diagnostics_period: float = parameter(
        "diagnostics.period", 1.0, "Seconds between messages on /diagnostics.", low=0.05, high=60.0
    )
    diagnostics_camera_timeout: float = parameter(
        "diagnostics.camera_timeout",
        2.0,
        "Seconds without a frame after which a camera is reported.",
        low=0.1,
        high=3600.0,
    )

    def __post_init__(self) -> None:
        unknown = [name for name in self.description_cameras if name and name not in self.cameras]
        if unknown:
            raise InvalidRequest(
                f"description.cameras names '{unknown[0]}', which cameras does not: "
                f"{', '.join(self.camera_names) or 'none'}."
            )

    @property
    def camera_names(self) -> tuple[str, ...]:
        """cameras, without the empty name that stands for none."""
        return tuple(name for name in self.cameras if name)

    @property
    def buffer_limits(self) -> BufferLimits:
        """What the buffer of one camera may hold."""
        return BufferLimits(
            seconds=self.buffer_seconds,
            frames=self.buffer_frames,
            bytes=self.buffer_bytes,
            pixels=self.buffer_pixels,
            future_seconds=self.buffer_future_seconds,
        )

    @property
    def engine_spec(self) -> EngineSpec:
        """What the worker process starts. Raises InvalidRequest when no model is named."""
        if not self.engine_model:
            raise InvalidRequest(
                "engine.model is empty; name the folder of a VILA checkpoint or its name on the "
                "Hugging Face hub."
            )
        return EngineSpec(self.engine_runtime, self.engine_model, json.loads(self.engine_options))

    @property
    def supervision_policy(self) -> SupervisionPolicy:
        """When the worker process counts as lost."""
        return SupervisionPolicy(
            heartbeat_timeout=self.engine_heartbeat_timeout,
            stall_timeout=self.engine_stall_timeout,
            load_timeout=self.engine_load_timeout,
        )

    @property
    def perceiver_defaults(self) -> PerceiverDefaults:
        """What holds where a question says nothing."""
        return PerceiverDefaults(
            window=self.window,
            max_frames=self.max_frames,
            sampling=Sampling[self.sampling.upper()],
            max_tokens=self.max_tokens,
            deadline=self.deadline,
            queue_size=self.queue_size,
            system_prompt=self.system_prompt,
            tolerance=self.tolerance,
            decoded_bytes=self.buffer_decoded_bytes,
            max_pixels=self.buffer_pixels,
        )


@dataclass(frozen=True)
class CameraSettings:
    """The parameters of one camera; their names stand behind `camera.<name>.`."""

    topic: str = parameter(
        "topic",
        "",
        "Topic of the images; by default <camera>/image_raw, in the node's namespace.",
        check=_check_topic,
        **_AT_REST,
    )
    type: str = parameter(
        "type",
        "auto",
        "Message type; auto takes CompressedImage for topics that end in /compressed, else Image.",
        allowed=("auto", "image", "compressed"),
        **_AT_REST,
    )

    @property
    def kind(self) -> MessageKind:
        """The message type, with auto resolved by the topic's name."""
        compressed = self.type == "compressed"
        if self.type == "auto":
            compressed = self.topic.rsplit("/", 1)[-1] == "compressed"
        return MessageKind.COMPRESSED_IMAGE if compressed else MessageKind.IMAGE


def camera_prefix(camera: str) -> str:
    """What the names of a camera's parameters start with."""
    return f"camera.{camera}."


def default_of(camera: str, each: Parameter, default: Any) -> Any:
    """The default of a camera's parameter; its topic depends on its name."""
    return f"{camera}/image_raw" if each.name == "topic" else default
