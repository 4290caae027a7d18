# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training data: one module a format, between files on disk and samples in memory."""
