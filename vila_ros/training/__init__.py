# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The training recipe: align, pretrain, fine-tune."""
