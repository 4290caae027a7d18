# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""For use without ROS: `pip install .` gives the Python modules and the `vila` command.

On a robot colcon builds the package by CMakeLists.txt, which also generates the interfaces. The
version is written once, in package.xml.
"""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

here = Path(__file__).resolve().parent
manifest = ElementTree.parse(here / "package.xml").getroot()
pinned = (here / "requirements" / "runtime.txt").read_text().splitlines()


class BuildWithKernels(build_py):
    """Compiles the int4 kernels beside the modules; without a compiler torch computes instead."""

    def run(self) -> None:
        """Copy the modules, then compile."""
        super().run()
        quantization = Path(self.build_lib) / "vila_ros" / "quantization"
        native = here / "vila_ros" / "quantization" / "native"
        sources = [str(native / name) for name in ("kernels.c", "team.c", "decode.c", "prompt.c")]
        flags = ["-O3", "-std=gnu11", "-fPIC", "-shared", "-pthread"]
        flags += ["-fno-math-errno", "-fno-trapping-math"]
        target = str(quantization / "libvila_int4.so")
        try:
            subprocess.run(["cc", *flags, *sources, "-lm", "-o", target], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"the int4 kernels were not built, int4 is slower: {error}", file=sys.stderr)


class PlatformDistribution(Distribution):
    """A wheel with a compiled library is of one platform."""

    def has_ext_modules(self) -> bool:
        """Yes."""
        return True


setup(
    name="vila_ros",
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    license="Apache-2.0",
    packages=find_packages(include=["vila_ros", "vila_ros.*"]),
    package_data={"vila_ros.quantization": ["native/*"], "vila_ros.web": ["page/*"]},
    data_files=[
        (f"share/vila_ros/{folder.relative_to(here)}", [str(file) for file in files])
        for folder in sorted(path for path in (here / "models").rglob("*") if path.is_dir())
        if (files := [file.relative_to(here) for file in folder.iterdir() if file.is_file()])
    ],
    cmdclass={"build_py": BuildWithKernels},
    distclass=PlatformDistribution,
    python_requires=">=3.10",
    # The lower bounds are what is tested; a robot's environment may carry newer versions.
    install_requires=[
        line.replace("==", ">=", 1) for line in pinned if line and not line.startswith("#")
    ],
    entry_points={"console_scripts": ["vila = vila_ros.cli.main:main"]},
)
