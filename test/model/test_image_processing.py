# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing: resize, pad, crop and tile, against Pillow used by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from test.model.conftest import NVILA, VILA15, edit_json, make_variant, picture
from vila_ros.errors import InvalidCheckpoint, InvalidImage
from vila_ros.model.config import Scales, read_config
from vila_ros.model.image_processing import (
    MAX_SIDE,
    ImageProcessor,
    Normalization,
    closest_ratio,
)

SIZE = 56
HALF = Normalization()
CLIP = Normalization(mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))


def processor(aspect: str | None, **changes: object) -> ImageProcessor:
    plain = ImageProcessor(
        size=SIZE,
        shortest_edge=None,
        resample=Image.Resampling.BICUBIC,
        normalization=Normalization(),
        aspect_ratio=aspect,
        scales=None,
        min_tiles=1,
        max_tiles=12,
    )
    return replace(plain, **changes)


def normalized(image: Image.Image, normal: Normalization = HALF) -> np.ndarray:
    """[3, H, W] in float64, straight from the formula."""
    pixels = np.asarray(image, dtype=np.float64) / 255
    return ((pixels - np.array(normal.mean)) / np.array(normal.std)).transpose(2, 0, 1)


def squeezed(image: Image.Image, width: int = SIZE, height: int = SIZE) -> Image.Image:
    return image.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("aspect", ["resize", None, "dynamic", "dynamic_s2"])
def test_a_whole_image_is_squeezed_into_the_square(aspect: str | None):
    image = picture(60, 90)
    prepared = processor(aspect)(image)
    np.testing.assert_allclose(
        prepared.pixels[0], normalized(squeezed(Image.fromarray(image))), atol=1e-5
    )
    assert prepared.grid is None


@pytest.mark.parametrize(("height", "width"), [(40, 91), (91, 40), (50, 50)])
def test_padding_puts_the_image_in_the_middle_of_the_mean_colour(height: int, width: int):
    image = picture(height, width)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), [int(255 * mean) for mean in CLIP.mean], np.uint8)
    square[top : top + height, left : left + width] = image
    expected = normalized(squeezed(Image.fromarray(square)), CLIP)
    prepared = processor("pad", normalization=CLIP)(image)
    np.testing.assert_allclose(prepared.pixels[0], expected, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(80, 121), (121, 80)])
def test_clip_resizes_the_shorter_side_and_crops_the_centre(height: int, width: int):
    image = picture(height, width)
    scaled = (
        squeezed(Image.fromarray(image), SIZE, int(SIZE * height / width))
        if width < height
        else squeezed(Image.fromarray(image), int(SIZE * width / height), SIZE)
    )
    left, top = (scaled.width - SIZE) // 2, (scaled.height - SIZE) // 2
    expected = normalized(scaled.crop((left, top, left + SIZE, top + SIZE)))
    prepared = processor(None, shortest_edge=SIZE)(image)
    np.testing.assert_allclose(prepared.pixels[0], expected, atol=1e-5)


def test_tiles_in_row_order_then_a_thumbnail():
    image = picture(100, 200)  # two to one: 4 columns, 2 rows cover it best
    prepared = processor("dynamic")(image, tiled=True)
    assert prepared.grid == (2, 4)
    whole = squeezed(Image.fromarray(image), 4 * SIZE, 2 * SIZE)
    places = [(column * SIZE, row * SIZE) for row in range(2) for column in range(4)]
    tiles = [whole.crop((x, y, x + SIZE, y + SIZE)) for x, y in places]
    tiles.append(squeezed(Image.fromarray(image)))
    expected = np.stack([normalized(tile) for tile in tiles])
    np.testing.assert_allclose(prepared.pixels, expected, atol=1e-5)


def test_an_image_of_one_tile_has_no_thumbnail():
    prepared = processor("dynamic")(picture(20, 20), tiled=True)
    assert prepared.grid == (1, 1)
    assert len(prepared.pixels) == 1


def test_dynamic_s2_has_square_scales_and_one_of_the_images_shape():
    scales = Scales((56, 112, 168), 56, 2, dynamic=True)
    image = picture(96, 128)
    prepared = processor("dynamic_s2", scales=scales)(image, tiled=True)
    assert prepared.grid == (3, 4)
    assert len(prepared.pixels) == 1 + 4 + 12
    second = squeezed(Image.fromarray(image), 112, 112)
    np.testing.assert_allclose(
        prepared.pixels[2], normalized(second.crop((56, 0, 112, 56))), atol=1e-5
    )


@pytest.mark.parametrize(
    ("width", "height", "least", "expected"),
    [
        (100, 100, 1, (1, 1)),
        (10_000, 10_000, 1, (3, 3)),
        (1000, 10, 1, (12, 1)),
        (10, 1000, 1, (1, 12)),
        (640, 480, 1, (4, 3)),
        (100, 100, 9, (3, 3)),
        (1000, 250, 9, (6, 2)),
    ],
)
def test_the_tiling_nearest_in_shape(width: int, height: int, least: int, expected: tuple):
    assert closest_ratio(width, height, least, 12, 384) == expected


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_tilings_stay_within_their_bounds(height: int, width: int):
    rows, columns = processor("dynamic").grid(height, width, tiled=True)
    assert 1 <= rows * columns <= 12


def test_images_are_tiled_only_when_asked():
    assert len(processor("dynamic")(picture(100, 200)).pixels) == 1


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((0, 10, 3), np.uint8), "10 x 0 pixels; each side must be within 1"),
        (np.zeros((10, 0, 3), np.uint8), "0 x 10 pixels"),
        (np.zeros((20_000, 1, 3), np.uint8), "1 x 20000 pixels"),
        (np.zeros((1, 20_000, 3), np.uint8), "20000 x 1 pixels"),
        (np.zeros((10, 10), np.uint8), r"shape \[10, 10\]"),
        (np.zeros((10, 10, 4), np.uint8), r"shape \[10, 10, 4\]"),
        (np.zeros((10, 10, 3), np.float32), "float32; expected uint8"),
    ],
)
@pytest.mark.parametrize("aspect", ["resize", "pad", "dynamic"])
def test_bad_images_are_refused(image: np.ndarray, says: str, aspect: str):
    with pytest.raises(InvalidImage, match=says):
        processor(aspect)(image)


def test_a_thin_image_at_the_limit_is_handled():
    assert processor("pad")(np.zeros((1, MAX_SIDE, 3), np.uint8)).pixels.shape == (1, 3, 56, 56)


def test_a_thin_image_that_a_crop_would_blow_up_is_refused():
    with pytest.raises(InvalidImage, match="becomes 672000 x 56"):
        processor(None, shortest_edge=SIZE)(np.zeros((1, MAX_SIDE, 3), np.uint8))


def test_settings_come_from_the_folder(tmp_path):
    folder = make_variant(VILA15, tmp_path / "v", image_aspect_ratio="pad")
    path = folder / "vision_tower" / "preprocessor_config.json"
    edit_json(path, image_mean=[0.1, 0.2, 0.3], image_std=[1.0, 2.0, 3.0], rescale_factor=0.5)
    made = ImageProcessor.from_config(read_config(folder))
    assert made.normalization == Normalization(0.5, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0))
    assert (made.size, made.aspect_ratio) == (70, "pad")


def test_a_size_that_the_tower_cannot_see_is_refused(tmp_path):
    folder = make_variant(NVILA, tmp_path / "v")
    path = folder / "vision_tower" / "preprocessor_config.json"
    edit_json(path, size={"height": 84, "width": 84})
    with pytest.raises(InvalidCheckpoint, match="84 px do not fit the vision tower's 70 px"):
        ImageProcessor.from_config(read_config(folder))
