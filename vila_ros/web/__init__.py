# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pages for the person at the machine: served on loopback alone, without anything from outside."""
