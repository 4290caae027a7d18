# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Boxes that a detector recorded, in both forms that vision_msgs has had."""

import math

import pytest

from test.annotation.conftest import START_NS, jpeg
from vila_ros.annotation.cameras import scanned_cameras, sights
from vila_ros.annotation.drafting import KnownBox
from vila_ros.annotation.known_boxes import DETECTIONS, known_boxes
from vila_ros.bags.compressed_image import COMPRESSED_IMAGE, serialize_compressed_image
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize, typestore_with
from vila_ros.bags.writer import BagWriter

CAMERA = "/front/image_raw/compressed"
RULE = "=" * 80
HEAD = f"""\
std_msgs/Header header
vision_msgs/Detection2D[] detections
{RULE}
MSG: vision_msgs/Detection2D
std_msgs/Header header
vision_msgs/ObjectHypothesisWithPose[] results
vision_msgs/BoundingBox2D bbox
{RULE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{RULE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
{RULE}
"""
NEW = (
    HEAD
    + f"""\
MSG: vision_msgs/ObjectHypothesisWithPose
vision_msgs/ObjectHypothesis hypothesis
{RULE}
MSG: vision_msgs/ObjectHypothesis
string class_id
float64 score
{RULE}
MSG: vision_msgs/BoundingBox2D
vision_msgs/Pose2D center
float64 size_x
float64 size_y
{RULE}
MSG: vision_msgs/Pose2D
vision_msgs/Point2D position
float64 theta
{RULE}
MSG: vision_msgs/Point2D
float64 x
float64 y
"""
)
OLD = (
    HEAD
    + f"""\
MSG: vision_msgs/ObjectHypothesisWithPose
string id
float64 score
{RULE}
MSG: vision_msgs/BoundingBox2D
geometry_msgs/Pose2D center
float64 size_x
float64 size_y
{RULE}
MSG: geometry_msgs/Pose2D
float64 x
float64 y
float64 theta
"""
)


def detections(definition, stamp_ns, boxes, frame_id="cam"):
    """A message of boxes (x, y, width, height, ((category, score), …)), the centre first."""
    store = typestore_with({DETECTIONS: definition})
    types = store.types
    time = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    header = types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)
    made = []
    for x, y, width, height, hypotheses in boxes:
        if definition is NEW:
            point = types["vision_msgs/msg/Point2D"](x=x, y=y)
            centre = types["vision_msgs/msg/Pose2D"](position=point, theta=0.0)
            said = [
                types["vision_msgs/msg/ObjectHypothesisWithPose"](
                    hypothesis=types["vision_msgs/msg/ObjectHypothesis"](class_id=name, score=score)
                )
                for name, score in hypotheses
            ]
        else:
            centre = types["geometry_msgs/msg/Pose2D"](x=x, y=y, theta=0.0)
            said = [
                types["vision_msgs/msg/ObjectHypothesisWithPose"](id=name, score=score)
                for name, score in hypotheses
            ]
        box = types["vision_msgs/msg/BoundingBox2D"](center=centre, size_x=width, size_y=height)
        made.append(types["vision_msgs/msg/Detection2D"](header=header, results=said, bbox=box))
    message = types[DETECTIONS](header=header, detections=made)
    return serialize(message, DETECTIONS, store)


@pytest.mark.parametrize("definition", [NEW, OLD], ids=["new", "old"])
def test_the_boxes_of_the_frame_are_found_by_its_stamp(tmp_path, definition):
    boxes = [
        (20.0, 20.0, 10.0, 8.0, (("dog", 0.2), ("car", 0.7))),
        (62.0, 46.0, 20.0, 20.0, ()),  # half outside
        (500.0, 20.0, 10.0, 8.0, (("car", 0.9),)),  # outside
        (20.0, math.nan, 10.0, 8.0, (("car", 0.9),)),
    ]
    other = [(5.0, 5.0, 4.0, 4.0, (("bus", 1.0),))]
    with BagWriter(tmp_path / "bag") as writer:
        writer.add_topic("/boxes", DETECTIONS, definition)
        for number in range(3):
            stamp = START_NS + number * 100_000_000
            image = serialize_compressed_image(stamp, "cam", "jpeg", jpeg(number))
            writer.write(CAMERA, COMPRESSED_IMAGE, stamp, image)
            said = detections(definition, stamp, boxes if number == 1 else other)
            if number != 2:
                writer.write("/boxes", DETECTIONS, stamp + 30_000_000, said)
        rear = detections(definition, START_NS + 200_000_000, other, frame_id="rear")
        writer.write("/boxes", DETECTIONS, START_NS + 230_000_000, rear)
    recording = open_recording(tmp_path / "bag")
    times = [START_NS + number * 100_000_000 for number in range(3)]
    found = [
        known_boxes(recording, sight)
        for sight in sights(
            recording, scanned_cameras(recording), times, START_NS, times[-1], lambda _: None
        )
    ]
    assert found == [
        [KnownBox((3.0, 3.0, 4.0, 4.0), "bus")],
        [KnownBox((15.0, 16.0, 10.0, 8.0), "car"), KnownBox((52.0, 36.0, 12.0, 12.0), "")],
        [],
    ]
