# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How hypothesis runs here: without a clock, for this machine may be busy, and without a file."""

from hypothesis import settings

settings.register_profile("perception", deadline=None, database=None)
settings.load_profile("perception")
