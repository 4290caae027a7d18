# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Reading training data: formats, mixtures, checks and pictures."""
