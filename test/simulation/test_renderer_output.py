# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the physics engine prints does not reach the output of who uses it."""

import subprocess
import sys

import pytest

pytest.importorskip("pybullet", reason="rendered scenes need pybullet")

PROGRAM = """
import sys
from vila_ros.simulation.renderer import Renderer
print("before")
with Renderer(32, 24):
    print("inside")
print("said", file=sys.stderr)
"""


def test_only_what_the_program_prints_is_printed():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "before\ninside\n"
    assert done.stderr == "said\n"
