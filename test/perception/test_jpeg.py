# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures become files that look like them, and smaller ones that keep their shape."""

import cv2
import numpy as np
import pytest

from vila_ros.perception.jpeg import encode_jpeg, smaller


def test_colours_are_kept():
    red = np.full((16, 24, 3), (200, 30, 60), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (16, 24, 3)
    assert np.abs(decoded[..., ::-1].astype(int) - red).max() <= 3


@pytest.mark.parametrize(
    ("before", "after"),
    [((480, 640), (240, 320)), ((100, 320), (100, 320)), ((2, 1000), (1, 320))],
)
def test_wide_pictures_become_narrower_and_keep_their_shape(before, after):
    assert smaller(np.zeros((*before, 3), np.uint8), 320).shape == (*after, 3)
