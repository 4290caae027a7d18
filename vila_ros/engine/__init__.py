# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Text out of images: the Engine interface, the supervised worker, one module per runtime."""
