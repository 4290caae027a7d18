# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""64 bits that say what a picture looks like, to find its near-duplicates without a model.

The signs of a picture's lowest frequencies about their median, as in Zauner, Implementation and
Benchmarking of Perceptual Image Hash Functions (2010), 3.2.1.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vila_ros.engine.interface import RgbImage

_SIDE, _LOW = 32, 8


def perceptual_hash(image: RgbImage) -> int:
    """The picture's hash, 0 to 2**64 - 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:_LOW, :_LOW].ravel()
    bits = low > np.median(low[1:])  # the first is the brightness alone
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(one: int, others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In how many bits a hash differs from each of others, [n]; 0 to 64."""
    different = np.bitwise_xor(np.uint64(one), others)
    octets = different[:, None].view(np.uint8)
    return np.unpackbits(octets, axis=1).sum(axis=1, dtype=np.int64)
