# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a made-up drive is recorded, drawn or simulated: pictures, the speed, and the truth.

CAMERA_TOPIC holds JPEGs, SPEED_TOPIC a std_msgs/Float32 in metres a second, TRUTH_TOPIC what is
true at each picture, as JSON in a std_msgs/String.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import Field, asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.bags.compressed_image import (
    COMPRESSED_IMAGE,
    camera_topic,
    serialize_compressed_image,
)
from vila_ros.bags.serialization import serialize, serialize_float32, standard_types
from vila_ros.bags.writer import BagWriter

CAMERA = "front"
CAMERA_TOPIC = camera_topic(CAMERA)
SPEED_TOPIC = "/speed"
TRUTH_TOPIC = "/ground_truth"
FRAME_ID = "front_optical_frame"
START_NS = 1_700_000_000_000_000_000
"""The stamp of the first picture, unless said otherwise."""
_FLOAT, _STRING = "std_msgs/msg/Float32", "std_msgs/msg/String"


class DriveTruth(Protocol):
    """A dataclass of JSON values: what is true at a picture. speed: metres a second."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def stamp_ns(self) -> int:
        """The picture's stamp."""

    @property
    def speed(self) -> float:
        """Metres a second."""


Truth = TypeVar("Truth", bound=DriveTruth)


def record_drive(
    path: Path, frames: Iterable[tuple[NDArray[np.uint8], Truth]], quality: int, storage: str
) -> Iterator[Truth]:
    """Record pictures (uint8 BGR, [H, W, 3]) with their truths; gives each truth when it is
    recorded.

    quality: of the JPEGs. storage: "mcap" or "sqlite3". The recording is complete when the iterator
    has ended. Raises InvalidRecording if it cannot be written.
    """
    string = standard_types().types[_STRING]
    with BagWriter(path, storage) as writer:
        for picture, truth in frames:
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            stamp = truth.stamp_ns
            image = serialize_compressed_image(stamp, FRAME_ID, "jpeg", jpeg.tobytes())
            writer.write(CAMERA_TOPIC, COMPRESSED_IMAGE, stamp, image)
            writer.write(SPEED_TOPIC, _FLOAT, stamp, serialize_float32(truth.speed))
            said = serialize(string(json.dumps(asdict(truth))), _STRING)
            writer.write(TRUTH_TOPIC, _STRING, stamp, said)
            yield truth
