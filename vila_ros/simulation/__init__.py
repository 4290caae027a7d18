# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes with exact labels: what a robot's camera would see, and what is true there."""
