# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures and clips: upright, bounded, evenly taken."""

from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from vila_ros.datasets.reading import pictures
from vila_ros.datasets.reading.pictures import picture_size, read_clip, read_frame, read_picture
from vila_ros.datasets.types import ClipSource, ImageSource
from vila_ros.errors import InvalidImage
from vila_ros.perception.image_files import decode_file


def write_video(path: Path, frames: int) -> Path:
    """Each frame as bright as its number."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 32, 32
        for number in range(frames):
            pixels = np.full((32, 32, 3), 10 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def test_a_picture_on_its_side_is_turned():
    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(file, "JPEG", exif=exif)
    source = ImageSource(data=file.getvalue())
    assert picture_size(source) == (30, 20)
    assert read_picture(source).shape == (30, 20, 3)


def test_transparency_and_grey_become_rgb(tmp_path: Path):
    for mode in ("RGBA", "L", "P"):
        Image.new(mode, (8, 6)).save(tmp_path / f"{mode}.png")
        assert read_picture(ImageSource(path=tmp_path / f"{mode}.png")).shape == (6, 8, 3)


def test_16_bits_are_scaled_and_not_cut_off(tmp_path: Path):
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    pixels = read_picture(ImageSource(path=tmp_path / "deep.png"))
    assert pixels.shape == (8, 8, 3)
    assert np.array_equal(pixels, decode_file((tmp_path / "deep.png").read_bytes()))
    assert (pixels[..., 0].min(), pixels[..., 0].max()) == (0, 255)
    assert 120 < pixels.mean() < 135


def test_a_video_named_by_its_time_is_a_file(tmp_path: Path, monkeypatch):
    write_video(tmp_path / "2026-01-01T10:00:00.mp4", 4)
    monkeypatch.chdir(tmp_path)
    assert len(read_clip(ClipSource(path=Path("2026-01-01T10:00:00.mp4"), count=3))) == 3


def test_a_picture_too_large_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    file = BytesIO()
    Image.new("RGB", (20, 20)).save(file, "PNG")
    with pytest.raises(InvalidImage, match=r"big: 20x20, at most 0.0001 megapixels"):
        read_picture(ImageSource(data=file.getvalue(), key="big"))


def test_frames_are_taken_evenly_and_repeat_in_a_short_video(tmp_path: Path):
    clip = ClipSource(path=write_video(tmp_path / "v.mp4", 9), count=3)
    levels = [round(float(frame.mean()) / 10) for frame in read_clip(clip)]
    assert levels == [0, 4, 8]
    assert (read_frame(clip, 1) == read_clip(clip)[1]).all()
    short = ClipSource(path=write_video(tmp_path / "short.mp4", 2), count=4)
    assert len(read_clip(short)) == 4
    with pytest.raises(InvalidImage, match="no such file"):
        read_clip(ClipSource(path=tmp_path / "absent.mp4"))
