# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tests. A package, because the standard library has one of this name, which would win."""
