# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Moments of recordings that are worth a person's look: mined, drafted, reviewed, written out."""
