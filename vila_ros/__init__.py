# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vision-language perception for ROS 2 robots, answered by VILA."""

from pkgutil import extend_path

# The interfaces (vila_ros.msg, .srv, .action) are generated into the install space under this same
# package name. Extending the path lets a source tree or an editable install find them there too.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
