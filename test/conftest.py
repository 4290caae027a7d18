# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

import signal

# A shell starts what it runs in the background with SIGINT ignored, and every process started from
# here would inherit that; tests that interrupt one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
