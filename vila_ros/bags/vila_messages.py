# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the node says, as messages for a recording, where ROS is not installed.

vila_ros/msg/SceneDescription is written with its definition, as the node publishes it. The same
text goes out in types that viewers show without knowing ours: std_msgs/String, rcl_interfaces/Log
(Foxglove's Log panel, rqt_console) and a text marker before the camera (RViz, Foxglove's 3D panel).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from rosbags.typesys.store import Typestore

from vila_ros.bags.serialization import serialize, typestore_with
from vila_ros.bags.writer import BagWriter
from vila_ros.perception.types import Answer, FrameReference

SCENE_DESCRIPTION = "vila_ros/msg/SceneDescription"
STRING = "std_msgs/msg/String"
LOG = "rcl_interfaces/msg/Log"
MARKER = "visualization_msgs/msg/Marker"
DESCRIPTION_TOPIC = "/vila/scene_description"
TEXT_TOPIC = "/vila/text"
LOG_TOPIC = "/vila/log"
MARKER_TOPIC = "/vila/marker"

# msg/*.msg without their comments; a test holds them equal.
FRAME_REF_DEFINITION = """\
string camera
builtin_interfaces/Time stamp
string frame_id
"""
INFERENCE_STATS_DEFINITION = """\
string model
string runtime
float32 queue_time
float32 decode_time
float32 vision_time
float32 time_to_first_token
float32 total_time
uint32 prompt_tokens
uint32 image_tokens
uint32 cached_tokens
uint32 completion_tokens
float32 tokens_per_second
uint32 images_encoded
uint32 images_cached
"""
SCENE_DESCRIPTION_DEFINITION = """\
std_msgs/Header header
builtin_interfaces/Time window_start
builtin_interfaces/Time window_end
vila_ros/FrameRef[] frames
string prompt
string text
string json
vila_ros/InferenceStats stats
"""
_TIME = "int32 sec\nuint32 nanosec\n"
_HEADER = "builtin_interfaces/Time stamp\nstring frame_id\n"
_RULE = "=" * 80

# The types that it is made of, as `ros2 bag record` writes them, so that every reader knows them.
DEFINITION = "".join(
    (
        SCENE_DESCRIPTION_DEFINITION,
        f"{_RULE}\nMSG: std_msgs/Header\n{_HEADER}",
        f"{_RULE}\nMSG: builtin_interfaces/Time\n{_TIME}",
        f"{_RULE}\nMSG: vila_ros/FrameRef\n{FRAME_REF_DEFINITION}",
        f"{_RULE}\nMSG: vila_ros/InferenceStats\n{INFERENCE_STATS_DEFINITION}",
    )
)
"""The definition of SceneDescription for a recording."""

_MARKER_SCALE = 0.12  # metres: height of a letter, 2 m before the camera
_INFO = 20  # rcl_interfaces/Log.INFO


@cache
def vila_types() -> Typestore:
    """The standard types and ours."""
    return typestore_with({SCENE_DESCRIPTION: DEFINITION})


class DescriptionWriter:
    """Writes answers into a recording: SceneDescription, and the same text for viewers."""

    def __init__(self, writer: BagWriter) -> None:
        self._writer = writer
        writer.add_topic(DESCRIPTION_TOPIC, SCENE_DESCRIPTION, DEFINITION)
        for topic, kind in ((TEXT_TOPIC, STRING), (LOG_TOPIC, LOG), (MARKER_TOPIC, MARKER)):
            writer.add_topic(topic, kind)

    def write(self, answer: Answer, prompt: str, stamp_ns: int) -> None:
        """Write an answer that has frames. stamp_ns: the recording's time at which it was asked.

        Durations and cache hits are left zero: they are of the machine that replays, and the
        recording is to be the same bytes wherever it is made.
        """
        newest = max(answer.frames, key=lambda frame: frame.stamp_ns)
        text = answer.text or answer.json
        for topic, kind, message in (
            (DESCRIPTION_TOPIC, SCENE_DESCRIPTION, scene_description(answer, prompt)),
            (TEXT_TOPIC, STRING, vila_types().types[STRING](_clean(text))),
            (LOG_TOPIC, LOG, _log(text, newest, answer.model)),
            (MARKER_TOPIC, MARKER, _marker(text, newest)),
        ):
            data = serialize(message, kind, vila_types())
            self._writer.write(topic, kind, stamp_ns, data)


def scene_description(answer: Answer, prompt: str) -> Any:
    """The message of an answer that has frames; stats without what depends on the machine."""
    types = vila_types().types
    newest = max(answer.frames, key=lambda frame: frame.stamp_ns)
    oldest_first = sorted(answer.frames, key=lambda frame: frame.stamp_ns)
    start, end = answer.window_ns
    stats = answer.stats
    return types[SCENE_DESCRIPTION](
        header=_header(newest),
        window_start=_time(start),
        window_end=_time(end),
        frames=[
            types["vila_ros/msg/FrameRef"](
                camera=each.camera, stamp=_time(each.stamp_ns), frame_id=_clean(each.frame_id)
            )
            for each in oldest_first
        ],
        prompt=_clean(prompt),
        text=_clean(answer.text),
        json=_clean(answer.json),
        stats=types["vila_ros/msg/InferenceStats"](
            model=_clean(answer.model),
            runtime=_clean(answer.runtime),
            queue_time=0.0,
            decode_time=0.0,
            vision_time=0.0,
            time_to_first_token=0.0,
            total_time=0.0,
            prompt_tokens=stats.prompt_tokens,
            image_tokens=stats.image_tokens,
            cached_tokens=0,
            completion_tokens=stats.completion_tokens,
            tokens_per_second=0.0,
            images_encoded=0,
            images_cached=0,
        ),
    )


def _log(text: str, newest: FrameReference, model: str) -> Any:
    return vila_types().types[LOG](
        stamp=_time(newest.stamp_ns),
        level=_INFO,
        name=f"vila/{newest.camera}",
        msg=_clean(text),
        file=_clean(model),
        function="",
        line=0,
    )


def _marker(text: str, newest: FrameReference) -> Any:
    """Text before the camera, looking along z with y down (REP-103), a little below its axis."""
    types = vila_types().types

    def vector(kind: str, **values: float) -> Any:
        return types[f"geometry_msgs/msg/{kind}"](**values)

    def duration() -> Any:
        return types["builtin_interfaces/msg/Duration"](sec=0, nanosec=0)

    white = types["std_msgs/msg/ColorRGBA"](r=1.0, g=1.0, b=1.0, a=1.0)
    empty = types["sensor_msgs/msg/CompressedImage"](
        header=types["std_msgs/msg/Header"](stamp=_time(0), frame_id=""),
        format="",
        data=_no_bytes(),
    )
    return types[MARKER](
        header=_header(newest),
        ns=f"vila/{newest.camera}",
        id=0,
        type=9,  # TEXT_VIEW_FACING
        action=0,  # ADD: takes the place of the one before
        pose=types["geometry_msgs/msg/Pose"](
            position=vector("Point", x=0.0, y=0.6, z=2.0),
            orientation=vector("Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        ),
        scale=vector("Vector3", x=0.0, y=0.0, z=_MARKER_SCALE),
        color=white,
        lifetime=duration(),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource="",
        texture=empty,
        uv_coordinates=[],
        text=_clean(text),
        mesh_resource="",
        mesh_file=types["visualization_msgs/msg/MeshFile"](filename="", data=_no_bytes()),
        mesh_use_embedded_materials=False,
    )


def _no_bytes() -> Any:
    return np.empty(0, np.uint8)


def _header(frame: FrameReference) -> Any:
    return vila_types().types["std_msgs/msg/Header"](
        stamp=_time(frame.stamp_ns), frame_id=_clean(frame.frame_id)
    )


def _time(nanoseconds: int) -> Any:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return vila_types().types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)


def _clean(text: str) -> str:
    """Text that arrives whole: ROS strings end at a NUL and cannot hold lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
