# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import os
import zlib
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("vila_ros.msg", reason="needs the built interfaces: make setup")


@pytest.fixture(scope="module")
def robot(request):
    """A robot in a ROS domain of this module and this test run."""
    from test.ros.robot import Robot

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    # Up to 100: above it Fast DDS's ports meet those that Linux gives away.
    domain = zlib.crc32(f"{request.module.__name__} {os.getpid()}".encode()) % 100 + 1
    robot = Robot(domain)
    yield robot
    robot.close()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.ros)
