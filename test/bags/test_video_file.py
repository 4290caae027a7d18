# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A video is a recording of its frames as JPEG, at their own times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import deserialize
from vila_ros.errors import InvalidRecording

FRAMES, RATE = 60, 25
TOPIC = "/camera/image_raw/compressed"


def make_video(
    path: Path, codec: str = "mpeg4", encoder: dict[str, str] | None = None, **options: str
) -> Path:
    """Frames of 64x48 that become brighter by four each, a keyframe every 12."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=RATE, options=encoder)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 12
        for i in range(FRAMES):
            pixels = np.full((48, 64, 3), i * 4, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def brightness(message) -> float:
    image = deserialize(message)
    assert image.format == "jpeg"
    return float(cv2.imdecode(image.data, cv2.IMREAD_COLOR).mean())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_every_frame_is_a_message_at_its_time(tmp_path, suffix):
    recording = open_recording(make_video(tmp_path / f"drive{suffix}"))
    messages = list(recording.messages())
    assert len(messages) == recording.topics[TOPIC].count == FRAMES
    assert messages[0].stamp_ns == recording.start_ns == 1_000_000_000
    assert messages[-1].stamp_ns == recording.end_ns
    for i, message in enumerate(messages):
        assert message.stamp_ns - 1_000_000_000 == pytest.approx(i * 1e9 / RATE, abs=1e6)
        assert brightness(message) == pytest.approx(i * 4, abs=6)
        header = deserialize(message).header
        assert header.stamp.sec * 10**9 + header.stamp.nanosec == message.stamp_ns


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_a_time_range_is_reached_by_seeking(tmp_path, suffix):
    recording = open_recording(make_video(tmp_path / f"drive{suffix}"))
    whole = list(recording.messages())
    part = list(recording.messages(start_ns=whole[30].stamp_ns, end_ns=whole[40].stamp_ns))
    assert [m.stamp_ns for m in part] == [m.stamp_ns for m in whole[30:41]]
    assert brightness(part[0]) == pytest.approx(120, abs=6)
    assert list(recording.messages([])) == []


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("drive.ts", {"bf": "0"}),
        ("b_frames.ts", {"bf": "2"}),
        ("b_frames.mp4", {"bf": "2"}),
        ("intra_refresh.ts", {"bf": "0", "intra-refresh": "1"}),
        ("intra_refresh.mp4", {"bf": "0", "intra-refresh": "1"}),
    ],
)
def test_no_frame_is_lost_wherever_a_range_begins(tmp_path, name, encoder):
    """Not between keyframes of MPEG-TS, where a seek lands on any frame, and not while a picture
    is still built up, as with intra refresh."""
    recording = open_recording(make_video(tmp_path / name, "libx264", encoder))
    whole = list(recording.messages())
    assert len(whole) == FRAMES
    for start in (1, 11, 12, 20, 35, 47, 48, 49):
        part = list(recording.messages(start_ns=whole[start].stamp_ns))
        assert [m.stamp_ns for m in part] == [m.stamp_ns for m in whole[start:]]
        assert [brightness(m) for m in part] == [brightness(m) for m in whole[start:]]
    assert list(recording.messages(start_ns=recording.end_ns + 1)) == []
    assert recording.warnings == []


def test_a_seek_does_not_pass_through_what_comes_before(tmp_path):
    """Frames before the keyframe that is sought may be damaged."""
    video = make_video(tmp_path / "drive.mp4")  # its index is at the end
    whole = list(open_recording(video).messages())
    recording = open_recording(video)
    content = bytearray(video.read_bytes())
    begin = len(content) // 8
    content[begin : 2 * begin] = b"\xff" * begin
    video.write_bytes(content)
    part = list(recording.messages(start_ns=whole[-5].stamp_ns))
    assert [message.stamp_ns for message in part] == [m.stamp_ns for m in whole[-5:]]
    assert part == whole[-5:]
    assert recording.warnings == []


def test_a_video_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    # The index in front, as for streaming, survives the cut.
    video = make_video(tmp_path / "drive.mp4", movflags="faststart")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 2 // 3])
    recording = open_recording(video)
    messages = list(recording.messages())
    assert 5 < len(messages) < FRAMES
    assert brightness(messages[5]) == pytest.approx(20, abs=6)
    assert f"of {FRAMES} frames" in recording.warnings[0]


def test_what_holds_no_picture_is_refused(tmp_path):
    video = make_video(tmp_path / "drive.mp4")
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidRecording, match=r"no video that can be read.*lost its index"):
        open_recording(video)
    (tmp_path / "empty.mkv").write_bytes(b"")
    with pytest.raises(InvalidRecording, match="no video that can be read"):
        open_recording(tmp_path / "empty.mkv")
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InvalidRecording, match="has no video stream"):
        open_recording(tmp_path / "sound.mkv")


def test_a_name_is_never_taken_for_an_address(tmp_path, monkeypatch):
    """FFmpeg would open "concat:…" or "http:…" itself; only files are."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRecording, match="does not exist"):
        open_recording("concat:/etc/hostname|/etc/passwd.mp4")
