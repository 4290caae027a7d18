# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training recipe: stages as data, encoding and packing of samples, and fine-tuning."""
