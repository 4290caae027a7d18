# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera's episode as an mp4 file with exact frame times, and the statistics of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from vila_ros.engine.interface import RgbImage

CODEC, PIXELS = "libx264", "yuv420p"
# A keyframe every second frame, so that any frame is reached fast: training reads them at random.
# No frames that refer forward, so that the first one stands at time 0. A fixed number of threads,
# so that the same frames give the same bytes on every machine.
_OPTIONS = {"g": "2", "crf": "23", "bf": "0", "preset": "veryfast", "threads": "2"}
_STATISTICS_EVERY = 10


class EpisodeVideo:
    """Writes frames one after the other at a constant rate; frame i is shown at i / fps seconds.

    size: width and height, of which odd ones lose their last column or row.
    """

    def __init__(self, path: Path, fps: int, size: tuple[int, int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.width, self.height = size[0] & ~1, size[1] & ~1
        self._container = av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream(CODEC, rate=fps, options=dict(_OPTIONS))
        self._stream.width, self._stream.height = self.width, self.height
        self._stream.pix_fmt = PIXELS
        self._count = 0
        self._statistics = PixelStatistics()

    def add(self, picture: RgbImage) -> None:
        """Append a frame, uint8 RGB [H, W, 3] of the size."""
        cropped = np.ascontiguousarray(picture[: self.height, : self.width])
        frame = av.VideoFrame.from_ndarray(cropped, format="rgb24")
        frame.pts = self._count
        if self._count % _STATISTICS_EVERY == 0:
            self._statistics.add(cropped)
        self._count += 1
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> dict[str, Any]:
        """Complete the file; returns the statistics of its pixels."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        return self._statistics.summary()


class PixelStatistics:
    """Mean, deviation and extremes a channel, of values in [0, 1]."""

    def __init__(self) -> None:
        self._count, self._frames = 0, 0
        self._sum, self._squares = np.zeros(3), np.zeros(3)
        self._low, self._high = np.ones(3), np.zeros(3)

    def add(self, picture: RgbImage) -> None:
        """Take up a picture, uint8 RGB [H, W, 3], at every fourth pixel."""
        values = picture[::4, ::4].reshape(-1, 3) / 255.0
        self._count += len(values)
        self._frames += 1
        self._sum += values.sum(axis=0)
        self._squares += (values**2).sum(axis=0)
        self._low = np.minimum(self._low, values.min(axis=0))
        self._high = np.maximum(self._high, values.max(axis=0))

    def summary(self) -> dict[str, Any]:
        """As LeRobot keeps it: [3, 1, 1] each, and the number of frames looked at."""
        mean = self._sum / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0.0))
        shaped = {"min": self._low, "max": self._high, "mean": mean, "std": deviation}
        return {
            **{name: value.reshape(3, 1, 1).tolist() for name, value in shaped.items()},
            "count": [self._frames],
        }
