# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import random
import tempfile
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("vila_ros.msg", reason="needs the built interfaces: make setup")


@pytest.fixture(scope="module")
def ros_domain():
    """A ROS domain that no other test on this machine uses meanwhile."""
    # Up to 100: above it Fast DDS's ports meet those that Linux gives away.
    for domain in random.sample(range(1, 101), 100):
        with (Path(tempfile.gettempdir()) / f"vila_ros_test_domain_{domain}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain
            return
    pytest.fail("all ROS domains from 1 to 100 are in use by other tests")


@pytest.fixture(scope="module")
def robot(ros_domain):
    """A robot in a ROS domain of this module's own."""
    from test.ros.robot import Robot

    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    robot = Robot(ros_domain)
    yield robot
    robot.close()


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.ros)
