# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA itself in torch: vision tower, projector, interleaving, language model."""
