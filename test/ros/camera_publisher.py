# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A process that publishes images as it is told, one JSON command a line on stdin.

Commands are {"do": name, ...arguments}, the names those of CameraPublisher's methods; each is
answered by one line: {"ok": result} or {"error": text}.
"""

import io
import json
import sys
import time

import numpy as np
import rclpy
from PIL import Image as PilImage
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

WIDTH, HEIGHT = 64, 48


def stamped(message, stamp_ns, frame_id):
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = frame_id
    return message


def encode(color, form):
    pixels = np.full((HEIGHT, WIDTH, 3), color, np.uint8)
    file = io.BytesIO()
    PilImage.fromarray(pixels).save(file, form)
    return file.getvalue()


class CameraPublisher:
    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("camera_publisher", start_parameter_services=False)
        self.publishers = {}

    def advertise(self, topic, kind="image", reliability="reliable"):
        qos = QoSProfile(
            depth=100,
            reliability=ReliabilityPolicy[reliability.upper()],
            durability=DurabilityPolicy.VOLATILE,
        )
        kinds = {"image": Image, "compressed": CompressedImage, "clock": Clock}
        self.publishers[topic] = self.node.create_publisher(kinds[kind], topic, qos)

    def withdraw(self, topic):
        self.node.destroy_publisher(self.publishers.pop(topic))

    def matched(self, topic, count=1, timeout=20.0):
        end = time.monotonic() + timeout
        while self.publishers[topic].get_subscription_count() != count:
            if time.monotonic() > end:
                raise TimeoutError(f"{topic} has not {count} subscription(s)")
            time.sleep(0.01)

    def image(self, topic, stamp_ns, color=(255, 0, 0), frame_id="optical", **fields):
        pixels = np.full((HEIGHT, WIDTH, 3), color, np.uint8)
        message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
        message.data = pixels.tobytes()
        for name, value in fields.items():
            setattr(message, name, bytes(value) if name == "data" else value)
        self.publishers[topic].publish(stamped(message, stamp_ns, frame_id))

    def file(self, topic, stamp_ns, color=(255, 0, 0), frame_id="optical", form="jpeg", keep=None):
        message = CompressedImage(format=form, data=encode(color, form)[:keep])
        self.publishers[topic].publish(stamped(message, stamp_ns, frame_id))

    def clock(self, now_ns):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 10**9)
        self.publishers["/clock"].publish(message)


def main():
    publisher = CameraPublisher()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"ok": getattr(publisher, command.pop("do"))(**command)}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    rclpy.shutdown()


if __name__ == "__main__":
    main()
