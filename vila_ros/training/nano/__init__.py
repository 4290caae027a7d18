# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the embedded model vila-nano is made, from rendered scenes to the shipped folder."""
