# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The interleaved prompt: examples, frames with camera and time, further images, the question.

What stays the same between questions comes first and the question last, so that engines can reuse
the beginning. Times are relative to the newest frame: a window that moves on by a second reads the
same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vila_ros.engine.interface import AnyImagePart, Message, Part, TextPart
from vila_ros.perception.types import Example, Frame


def write_messages(
    prompt: str,
    *,
    system_prompt: str = "",
    frames: Sequence[tuple[Frame, AnyImagePart]] = (),
    images: Sequence[AnyImagePart] = (),
    examples: Sequence[tuple[Example, Sequence[AnyImagePart]]] = (),
) -> tuple[Message, ...]:
    """The conversation of one question.

    frames: camera frames with their images, in the order to show them. images: further ones.
    examples: each with its images, in their order.
    """
    messages = []
    if system_prompt:
        messages.append(Message("system", (TextPart(system_prompt),)))
    for example, shown in examples:
        parts = [part for image in shown for part in (image, TextPart("\n"))]
        messages.append(Message("user", _joined([*parts, TextPart(example.question)])))
        messages.append(Message("assistant", (TextPart(example.answer),)))
    newest = max((frame.stamp_ns for frame, _ in frames), default=0)
    shown_parts: list[Part] = []
    for frame, image in frames:
        shown_parts += [TextPart(f"{caption(frame, newest)}:\n"), image, TextPart("\n")]
    for number, image in enumerate(images, start=1):
        name = f"image {number}" if len(images) > 1 else "image"
        shown_parts += [TextPart(f"attached {name}:\n"), image, TextPart("\n")]
    messages.append(Message("user", _joined([*shown_parts, TextPart(prompt)])))
    return tuple(messages)


def caption(frame: Frame, newest_ns: int) -> str:
    """A frame's camera and how long before the newest frame it was taken."""
    name = frame.camera.replace("_", " ")
    if not name.lower().endswith("camera"):
        name += " camera"
    return f"{name}, {age(newest_ns - frame.stamp_ns)}"


def age(nanoseconds: int) -> str:
    """As "0.25 s before": hundredths below a second, tenths above; "latest" for nearly none."""
    seconds = nanoseconds / 1e9
    digits = f"{seconds:.1f}" if seconds >= 0.995 else f"{seconds:.2f}"
    digits = digits.rstrip("0").rstrip(".")
    return "latest" if digits == "0" else f"{digits} s before"


def _joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts with neighbouring texts made one, as they are one text to the model."""
    joined: list[Part] = []
    for part in parts:
        last = joined[-1] if joined else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            joined[-1] = TextPart(last.text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
