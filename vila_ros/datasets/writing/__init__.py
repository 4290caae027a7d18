# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The formats that training data is exported to, one module each."""
