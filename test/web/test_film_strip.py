# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The moments before and after a frame, read from its recording."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vila_ros.annotation.store import AnnotationFolder
from vila_ros.bags.compressed_image import COMPRESSED_IMAGE, serialize_compressed_image
from vila_ros.bags.drive_recording import CAMERA_TOPIC
from vila_ros.bags.recording import open_recording
from vila_ros.bags.writer import BagWriter
from vila_ros.errors import InvalidRecording, InvalidRequest
from vila_ros.perception.cdr import read_compressed_image
from vila_ros.web.film_strip import SMALL_WIDTH, FilmStrips


@pytest.fixture
def candidate(serve):
    """The first candidate of a drive of four seconds: its frame of half a second."""
    return AnnotationFolder(serve(1).folder.path).candidate("drive-front-00000")


def test_a_strip_has_pictures_at_even_steps_with_the_frame_itself_among_them(candidate):
    frames = FilmStrips().strip(candidate)
    seconds = [frame.seconds for frame in frames]
    assert seconds[0] == -0.5
    assert 0.0 in seconds
    assert seconds[-1] == 3.3  # of the last frame at 3.9 s every third is taken
    steps = np.diff(seconds)
    assert steps.max() <= 0.31
    pictures = [cv2.imdecode(np.frombuffer(f.small, np.uint8), 1) for f in frames]
    assert {picture.shape for picture in pictures} == {(108, SMALL_WIDTH, 3)}
    whole = cv2.imdecode(np.frombuffer(FilmStrips().frame(candidate, frames[0].recorded_ns)[0],
                                       np.uint8), 1)  # fmt: skip
    resized = cv2.resize(whole, (SMALL_WIDTH, 108), interpolation=cv2.INTER_AREA)
    assert np.abs(resized.astype(int) - pictures[0].astype(int)).mean() < 6


def test_a_frame_is_sent_as_it_was_recorded(candidate, drive):
    data, kind = FilmStrips().frame(candidate, candidate.recorded_ns)
    at = candidate.recorded_ns
    (message,) = open_recording(drive[0]).messages([CAMERA_TOPIC], at, at)
    assert kind == "image/jpeg"
    assert data == bytes(read_compressed_image(message.data).data)


def test_only_the_moments_around_the_candidate_are_sent(candidate):
    with pytest.raises(InvalidRequest, match="more than a minute"):
        FilmStrips().frame(candidate, candidate.recorded_ns + 61_000_000_000)
    with pytest.raises(InvalidRequest, match="has no frame at"):
        FilmStrips().frame(candidate, candidate.recorded_ns + 1)


def test_a_recording_that_was_moved_is_found_by_its_name(candidate, drive, tmp_path):
    shutil.copytree(drive[0], tmp_path / "archive" / "drive")
    moved = replace(candidate, recording="/nowhere/drive")
    with pytest.raises(InvalidRecording, match=r"not at /nowhere/drive any more.*--recordings"):
        FilmStrips().strip(moved)
    assert FilmStrips((tmp_path / "archive",)).strip(moved)


def test_a_recording_without_the_camera_is_told(candidate, tmp_path):
    with pytest.raises(InvalidRecording, match="no images of /rear any more"):
        FilmStrips().strip(replace(candidate, topic="/rear"))


def test_damaged_frames_are_left_out(candidate, drive, tmp_path):
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for number, message in enumerate(open_recording(drive[0]).messages([CAMERA_TOPIC])):
            data = bytes(read_compressed_image(message.data).data)
            data = data if number % 2 else data[:200]
            image = serialize_compressed_image(message.stamp_ns, "cam", "jpeg", data)
            writer.write(CAMERA_TOPIC, COMPRESSED_IMAGE, message.stamp_ns, image)
    frames = FilmStrips().strip(replace(candidate, recording=str(path)))
    assert 0.0 in [frame.seconds for frame in frames]
    assert len(frames) > 5
