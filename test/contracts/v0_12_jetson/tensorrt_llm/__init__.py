# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""tensorrt_llm 0.12, branch v0.12.0-jetson; see ../../README.md."""

__version__ = "0.12.0"
