# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`make demo`: a recording replayed, the real node, questions, answers checked."""
