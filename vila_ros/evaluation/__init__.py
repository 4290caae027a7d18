# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions put to recordings as the robot would put them, and what the answers are worth."""
