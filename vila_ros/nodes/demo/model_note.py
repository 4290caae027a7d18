# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is plainly to be said of the model that answers."""

from __future__ import annotations

from vila_ros.nodes.demo.material import ModelKind

_RELEASED = (
    "A robot should use a released VILA checkpoint: "
    "make demo MODEL=Efficient-Large-Model/VILA1.5-3b"
)
_NOTES = {
    ModelKind.EMBEDDED: (
        "vila-nano is for this demonstration and for tests: it was trained on simulated scenes, "
        f"knows eight kinds of things and little else. {_RELEASED}"
    ),
    ModelKind.RANDOM: (
        "The model is tiny and has random weights, so everything it says is NOISE; it shows that "
        f"the machinery works. {_RELEASED}"
    ),
    ModelKind.OWN: "",
}


def note_on(kind: ModelKind) -> str:
    """What the model is for, and what a robot should use; empty for the user's own."""
    return _NOTES[kind]
