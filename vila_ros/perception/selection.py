# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames a question is about: from its window to the frames that are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vila_ros.errors import EmptyWindow, InvalidImage
from vila_ros.perception.buffer import JUMP_NS, FrameBuffer
from vila_ros.perception.questions import CheckedQuestion
from vila_ros.perception.sampling import (
    candidates,
    sample_keyframes,
    sample_latest,
    sample_uniform,
)
from vila_ros.perception.types import Frame, RefusedImage, Sampling

Window = dict[str, list[Frame]]
"""The frames of a window by camera, oldest first; cameras in the order of the question."""


def gather(
    checked: CheckedQuestion, buffers: Mapping[str, FrameBuffer], tolerance_ns: int
) -> Window:
    """The frames among which is chosen, as the buffers hold them now.

    For keyframes these are only the frames that will be compared. Raises EmptyWindow, saying what
    the buffers hold.
    """
    if checked.end_ns:
        start_ns, end_ns = checked.start_ns, checked.end_ns
    else:
        end_ns = _newest_ns([buffers[camera] for camera in checked.cameras])
        start_ns = end_ns - checked.window_ns
    window = {camera: buffers[camera].window(start_ns, end_ns) for camera in checked.cameras}
    if not any(window.values()):
        raise EmptyWindow(_empty(checked, buffers))
    keyframes = checked.sampling is Sampling.KEYFRAMES
    return candidates(window, tolerance_ns) if keyframes else window


def choose(
    checked: CheckedQuestion,
    window: Window,
    tolerance_ns: int,
    thumbnail: Callable[[Frame], NDArray[np.uint8]],
) -> list[Frame]:
    """The frames to show, in their order: at most checked.max_frames, at least one.

    Only keyframes calls thumbnail, which decodes; a frame for which it raises RefusedImage is left
    out. Raises InvalidImage where none is left.
    """
    if checked.sampling is Sampling.LATEST:
        return sample_latest(window, checked.max_frames)
    if checked.sampling is not Sampling.KEYFRAMES:
        return sample_uniform(
            window, checked.max_frames, checked.window_ns, checked.start_ns, tolerance_ns
        )

    def small(frame: Frame) -> NDArray[np.uint8] | None:
        try:
            return thumbnail(frame)
        except RefusedImage:
            return None

    chosen = sample_keyframes(window, checked.max_frames, small, tolerance_ns)
    if not chosen:
        raise InvalidImage(
            f"None of the {sum(map(len, window.values()))} frames of {', '.join(window)} in the "
            "window can be decoded; look at the camera's driver."
        )
    return chosen


def _newest_ns(buffers: Sequence[FrameBuffer]) -> int:
    """The newest stamp of all cameras; 0 without frames.

    Where time jumped back, a camera that has been silent since holds frames of a time that is yet
    to come, and a window that ends with them would show nothing of the cameras that send. So its
    frames do not count. Cameras that all send may differ by any time: one is late, or has a clock
    of its own.
    """
    newest = [(frame, each) for each in buffers if (frame := each.newest()) is not None]
    if not newest:
        return 0
    last, sending = max(newest, key=lambda one: one[0].serial)
    jumped = max(each.since for each in buffers)
    first = sending.oldest() or last
    # A camera that had no frame before the jump could not notice it. What came before all that it
    # holds, and is farther ahead than it keeps frames, is no matter of being late.
    kept_ns = max(round(sending.limits.seconds * 1e9), JUMP_NS)

    def counts(frame: Frame) -> bool:
        ahead = frame.stamp_ns - last.stamp_ns
        if frame.serial < jumped:
            return ahead <= JUMP_NS
        return ahead <= kept_ns or frame.serial >= first.serial

    return max(frame.stamp_ns for frame, _ in newest if counts(frame))


def _empty(checked: CheckedQuestion, buffers: Mapping[str, FrameBuffer]) -> str:
    held = []
    for camera in checked.cameras:
        statistics = buffers[camera].statistics()
        if statistics.oldest_ns is None or statistics.newest_ns is None:
            held.append(f"{camera} holds no frame")
        else:
            held.append(
                f"{camera} holds {statistics.oldest_ns / 1e9:.3f} s to "
                f"{statistics.newest_ns / 1e9:.3f} s"
            )
    asked = "No frame has been received"
    fix = "see whether the camera publishes"
    if checked.end_ns:
        asked = (
            f"No frame lies between {checked.start_ns / 1e9:.3f} s and {checked.end_ns / 1e9:.3f} s"
        )
        fix = "ask for a window within that"
    return f"{asked}: {', '.join(held)}; {fix}."
