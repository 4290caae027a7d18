# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Camera images to what the vision tower sees: resized, padded or tiled, then normalised.

Follows process_image, dynamic_preprocess and dynamic_s2_preprocess of llava/mm_utils.py in
NVlabs/VILA and the image processors of transformers, by Pillow alone; every resize is on uint8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidCheckpoint, InvalidImage
from vila_ros.model.config import Scales, VilaConfig, read_json
from vila_ros.model.multiscale import scale_grids

# Padding a wide image to a square takes 3 * side**2 bytes: 432 MB at this limit.
MAX_SIDE = 12_000

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalization:
    """(pixel * scale - mean) / std for each of R, G, B."""

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        """A PIL RGB image of size (W, H) -> float32 [3, H, W]."""
        pixels = np.asarray(image, dtype=np.float32) * np.float32(self.scale)
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image as the tower takes it.

    pixels: float32 [T, 3, S, S]. grid: (rows, columns) of the tiles of the aspect-matched scale;
    None when the image was not tiled (T = 1).
    """

    pixels: torch.Tensor
    grid: tuple[int, int] | None


@dataclass(frozen=True)
class ImageProcessor:
    """Prepares images for one model.

    size: side of a tile, pixels. shortest_edge: for CLIP and DINOv2, to which the shorter side is
    resized before the centre is cropped; None where the whole image is squeezed into the square.
    """

    size: int
    shortest_edge: int | None
    resample: Image.Resampling
    normalization: Normalization
    aspect_ratio: str | None
    scales: Scales | None
    min_tiles: int
    max_tiles: int

    @classmethod
    def from_config(cls, config: VilaConfig) -> ImageProcessor:
        """From the folder's preprocessor_config.json and the model's configuration."""
        processor = _read_preprocessor(config)
        size = processor.size
        if config.scales is not None:
            size = config.scales.sizes[0 if config.scales.dynamic else -1]
        elif size != config.vision.image_size:
            raise InvalidCheckpoint(
                f"{config.vision_folder / 'preprocessor_config.json'}: images of {size} px do not "
                f"fit the vision tower's {config.vision.image_size} px"
            )
        edge = processor.shortest_edge
        if edge is not None and config.scales is not None:
            edge = size
        return replace(processor, size=size, shortest_edge=edge)

    @property
    def tiles_images(self) -> bool:
        """Whether the model cuts an image into tiles when asked to."""
        return self.aspect_ratio in ("dynamic", "dynamic_s2")

    def grid(self, height: int, width: int, tiled: bool) -> tuple[int, int] | None:
        """(rows, columns) into which an image is cut; None if it stays whole."""
        check_size(height, width)
        if not (tiled and self.tiles_images):
            return None
        least = self.min_tiles
        if self.aspect_ratio == "dynamic_s2":
            if self.scales is None:
                raise InvalidCheckpoint("image_aspect_ratio is dynamic_s2, but dynamic_s2 is off")
            least = (self.scales.sizes[-1] // self.scales.sizes[0]) ** 2
        columns, rows = closest_ratio(width, height, least, self.max_tiles, self.size)
        return rows, columns

    def __call__(self, image: RgbImage, tiled: bool = False) -> PreparedImage:
        """Prepare one image; tiled asks for tiles where the model has them."""
        check_image(image)
        grid = self.grid(image.shape[0], image.shape[1], tiled)
        picture = Image.fromarray(image)
        if grid is None:
            views = [self._whole(picture)]
        elif self.aspect_ratio == "dynamic":
            views = _tiles(picture, grid, self.size)
            if len(views) > 1:
                views.append(picture.resize((self.size, self.size)))
        else:
            assert self.scales is not None
            views = [
                tile
                for part in scale_grids(grid, self.scales)
                for tile in _tiles(picture, part, self.size)
            ]
        pixels = np.stack([self.normalization(view) for view in views])
        return PreparedImage(torch.from_numpy(pixels), grid)

    def _whole(self, picture: Image.Image) -> Image.Image:
        """The square view of an image that is not tiled."""
        if self.aspect_ratio == "pad":
            picture = _pad(picture, tuple(int(255 * mean) for mean in self.normalization.mean))
        elif self.aspect_ratio == "resize":
            picture = picture.resize((self.size, self.size))
        if self.shortest_edge is None:
            return picture.resize((self.size, self.size), self.resample)
        return self._crop_centre(picture, self.shortest_edge)

    def _crop_centre(self, picture: Image.Image, edge: int) -> Image.Image:
        """The shorter side resized to edge, the centre cropped (zeros where it is too small)."""
        width, height = picture.size
        if width <= height:
            width, height = edge, int(edge * height / width)
        else:
            width, height = int(edge * width / height), edge
        if max(width, height) > MAX_SIDE:
            raise InvalidImage(
                f"an image of {picture.size[0]} x {picture.size[1]} pixels becomes {width} x "
                f"{height} when resized; crop it to a ratio below {MAX_SIDE // edge} to 1"
            )
        picture = picture.resize((width, height), self.resample)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return picture.crop((left, top, left + self.size, top + self.size))


def check_image(image: RgbImage) -> None:
    """InvalidImage unless the array is a uint8 RGB image of at least one pixel, within MAX_SIDE."""
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        shape = list(getattr(image, "shape", ()))
        raise InvalidImage(f"image of shape {shape}; expected [height, width, 3]")
    if image.dtype != np.uint8:
        raise InvalidImage(f"image of dtype {image.dtype}; expected uint8")
    check_size(image.shape[0], image.shape[1])


def check_size(height: int, width: int) -> None:
    """InvalidImage unless both sides are within 1 and MAX_SIDE."""
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InvalidImage(
            f"image of {width} x {height} pixels; each side must be within 1 and {MAX_SIDE}: "
            "scale it down or check the camera"
        )


@lru_cache(maxsize=64)
def _ratios(least: int, most: int) -> tuple[tuple[int, int], ...]:
    """(columns, rows) of all tilings with least to most tiles, fewest tiles first."""
    sides = range(1, most + 1)
    pairs = [(c, r) for c in sides for r in sides if least <= c * r <= most]
    return tuple(sorted(pairs, key=lambda pair: pair[0] * pair[1]))


def closest_ratio(width: int, height: int, least: int, most: int, size: int) -> tuple[int, int]:
    """(columns, rows) of the tiling whose shape is nearest to the image's.

    Among equally near ones the larger wins while the image covers more than half of its pixels.
    """
    best, best_difference = (1, 1), float("inf")
    for columns, rows in _ratios(least, most):
        difference = abs(width / height - columns / rows)
        covers = width * height > 0.5 * size * size * columns * rows
        if difference < best_difference or (difference == best_difference and covers):
            best, best_difference = (columns, rows), difference
    return best


def _tiles(picture: Image.Image, grid: tuple[int, int], size: int) -> list[Image.Image]:
    """The image resized to rows x columns squares, cut in row order."""
    rows, columns = grid
    picture = picture.resize((columns * size, rows * size))
    return [
        picture.crop((c * size, r * size, (c + 1) * size, (r + 1) * size))
        for r in range(rows)
        for c in range(columns)
    ]


def _pad(picture: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """The image in the middle of a square of one colour."""
    width, height = picture.size
    if width == height:
        return picture
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(picture, ((side - width) // 2, (side - height) // 2))
    return square


def _read_preprocessor(config: VilaConfig) -> ImageProcessor:
    """preprocessor_config.json; where InternViT has none, the values fixed in its code."""
    path = config.vision_folder / "preprocessor_config.json"
    kind = config.vision.kind
    raw = read_json(path) if path.is_file() or kind != "internvit" else {}
    crops = kind in ("clip", "dinov2") and bool(raw.get("do_center_crop", True))
    imagenet = kind in ("internvit", "dinov2")
    size = config.vision.image_size
    edge = None
    if kind != "internvit":
        size = _side(raw.get("crop_size" if crops else "size"), path)
        edge = _side(raw.get("size"), path) if crops else None
    normal = Normalization(
        scale=float(raw.get("rescale_factor", 1 / 255)) if raw.get("do_rescale", True) else 1.0,
        mean=tuple(raw.get("image_mean") or (IMAGENET_MEAN if imagenet else (0.5,) * 3)),
        std=tuple(raw.get("image_std") or (IMAGENET_STD if imagenet else (0.5,) * 3)),
    )
    if not raw.get("do_normalize", True):
        normal = replace(normal, mean=(0.0,) * 3, std=(1.0,) * 3)
    return ImageProcessor(
        size=size,
        shortest_edge=edge,
        resample=Image.Resampling(int(raw.get("resample", Image.Resampling.BICUBIC))),
        normalization=normal,
        aspect_ratio=config.image_aspect_ratio,
        scales=config.scales,
        min_tiles=config.min_tiles,
        max_tiles=config.max_tiles,
    )


def _side(given: Any, path: Path) -> int:
    """A square's side from {"height", "width"}, {"shortest_edge"} or a number."""
    if isinstance(given, Mapping):
        sides = {given.get("height"), given.get("width"), given.get("shortest_edge")} - {None}
        given = sides.pop() if len(sides) == 1 else given
    if not isinstance(given, int) or not 1 <= given <= MAX_SIDE:
        raise InvalidCheckpoint(f"{path}: size is {given!r}, expected a square such as 384")
    return given
