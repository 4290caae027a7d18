# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""For use without ROS: `pip install .` gives the Python modules and the `vila` command.

On a robot colcon builds the package by CMakeLists.txt, which also generates the interfaces. The
version is written once, in package.xml.
"""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
manifest = ElementTree.parse(here / "package.xml").getroot()
pinned = (here / "requirements" / "runtime.txt").read_text().splitlines()

setup(
    name="vila_ros",
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    license="Apache-2.0",
    packages=find_packages(include=["vila_ros", "vila_ros.*"]),
    package_data={"vila_ros.web": ["page/*"]},
    python_requires=">=3.10",
    # The lower bounds are what is tested; a robot's environment may carry newer versions.
    install_requires=[
        line.replace("==", ">=", 1) for line in pinned if line and not line.startswith("#")
    ],
    entry_points={"console_scripts": ["vila = vila_ros.cli.main:main"]},
)
