# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes that a detector has recorded with a frame: vision_msgs/Detection2DArray.

Read by the definition that the recording carries, for the message has changed: until vision_msgs 3
a box's centre was a geometry_msgs/Pose2D and a hypothesis had its id and score itself; since then
they are vision_msgs/Pose2D (with a position) and an ObjectHypothesis of their own.
"""

from __future__ import annotations

import math
from typing import Any

from vila_ros.annotation.cameras import Sight
from vila_ros.annotation.coda_lm import MAX_REGIONS
from vila_ros.annotation.drafting import KnownBox
from vila_ros.bags.serialization import deserialize, typestore_with
from vila_ros.bags.types import Recording
from vila_ros.errors import InvalidRecording
from vila_ros.perception.cdr import read_header
from vila_ros.perception.types import RefusedImage

DETECTIONS = "vision_msgs/msg/Detection2DArray"
# A detector publishes a frame's boxes with the frame's stamp, but a moment later.
_LATER_NS = 2_000_000_000


def known_boxes(recording: Recording, sight: Sight) -> list[KnownBox]:
    """The boxes recorded for a frame: of its stamp and its frame_id; often none.

    Of several detectors the first topic by name counts. Boxes are clipped to the frame.
    """
    for topic in sorted(recording.topics):
        if recording.topics[topic].type != DETECTIONS or not recording.definition(DETECTIONS):
            continue
        store = typestore_with({DETECTIONS: recording.definition(DETECTIONS)})
        until = sight.recorded_ns + _LATER_NS
        for message in recording.messages([topic], sight.recorded_ns - _LATER_NS, until):
            try:
                if read_header(message.data) != (sight.stamp_ns, sight.frame.frame_id):
                    continue
                detections = deserialize(message, store).detections
            except (RefusedImage, InvalidRecording):
                continue  # a damaged message says nothing of this frame
            boxes = [_box(detection, *sight.size) for detection in detections[:MAX_REGIONS]]
            return [box for box in boxes if box is not None]
    return []


def _box(detection: Any, width: int, height: int) -> KnownBox | None:
    """A detection's box, or None where less than a pixel of it is in the frame."""
    centre = getattr(detection.bbox.center, "position", detection.bbox.center)
    across, down = detection.bbox.size_x / 2, detection.bbox.size_y / 2
    edges = (centre.x - across, centre.y - down, centre.x + across, centre.y + down)
    if not all(map(math.isfinite, edges)):
        return None
    left, right = max(0.0, edges[0]), min(float(width), edges[2])
    top, bottom = max(0.0, edges[1]), min(float(height), edges[3])
    if right - left < 1 or bottom - top < 1:
        return None
    return KnownBox((left, top, right - left, bottom - top), _category(detection.results))


def _category(results: Any) -> str:
    """What the best hypothesis says it is."""
    said = [getattr(result, "hypothesis", result) for result in results]
    if not said:
        return ""
    best = max(said, key=lambda hypothesis: float(hypothesis.score))
    return str(getattr(best, "class_id", getattr(best, "id", "")))[:200]
