# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fewer bits a weight, and what other runtimes' builders are fed with."""
